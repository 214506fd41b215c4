//! The TLS stream under an HTTP/2 connection, which remembers what h2 does not pass on: the alert with which the peer
//! ended it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use h2::Reason as H2Reason;
use rustls::AlertDescription;
use tidings_model::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::attempt::{Attempt, Cause};
use crate::net::alert_in;

/// The alert that ended a connection, if one did.
pub(super) type Alert = Arc<OnceLock<AlertDescription>>;

pub(super) struct Wire {
    stream: TlsStream<TcpStream>,
    alert: Alert,
}

impl Wire {
    pub(super) fn new(stream: TlsStream<TcpStream>) -> (Self, Alert) {
        let alert = Alert::default();
        let wire = Self {
            stream,
            alert: Arc::clone(&alert),
        };
        (wire, alert)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        polled.map_err(|error| {
            if let Some(alert) = alert_in(&error) {
                self.alert.get_or_init(|| alert);
            }
            match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    io::Error::new(error.kind(), "the peer closed it without a goodbye")
                }
                _ => error,
            }
        })
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What `alert` says about the client's certificate; none when it is about something else (RFC 8446, section 6.2).
pub(super) fn rejection(alert: AlertDescription) -> Option<Reason> {
    let word = match alert {
        AlertDescription::AccessDenied => "AccessDenied",
        AlertDescription::BadCertificate => "BadCertificate",
        AlertDescription::CertificateExpired => "CertificateExpired",
        AlertDescription::CertificateRequired => "CertificateRequired",
        AlertDescription::CertificateRevoked => "CertificateRevoked",
        AlertDescription::CertificateUnknown => "CertificateUnknown",
        AlertDescription::UnknownCA => "UnknownCA",
        AlertDescription::UnsupportedCertificate => "UnsupportedCertificate",
        _ => return None,
    };
    Some(Reason::known(word))
}

/// What became of a request whose stream failed (RFC 9113, sections 6.8 and 8.7).
pub(super) fn failed_stream(error: &h2::Error) -> Attempt {
    if error.is_go_away() && error.is_remote() {
        // h2 gives this error to the streams above the last id only.
        return Attempt::NotSent(Cause::GoAway);
    }
    if error.is_reset() && error.is_remote() {
        return match error.reason() {
            Some(H2Reason::REFUSED_STREAM) => Attempt::NotSent(Cause::RefusedStream),
            _ => Attempt::Unanswered(Cause::Reset(error.to_string().into())),
        };
    }
    Attempt::Unanswered(Cause::ConnectionLost(error.to_string().into()))
}
