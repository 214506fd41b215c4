//! The request that carries a delivery (Apple, "Sending notification requests to APNs").

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{AUTHORIZATION, HeaderName};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use uuid::Uuid;

use crate::apns::notification::Notification;
use crate::apns::queue::Delivery;

const APNS_ID: HeaderName = HeaderName::from_static("apns-id");
const PATH: &[u8] = b"/3/device/";
/// Characters of a token; today's have 64, those of Live Activities up to about 200.
const TOKEN_LEN_MAX: usize = 400;
/// Notifications whose headers are kept ready.
const TEMPLATES_MAX: usize = 4;
/// Paths and ids are cut from pieces of this size.
const TEXT_PIECE: usize = 16 * 1024;

/// Makes the requests of one connection. Headers that the deliveries of a notification share are made once for each
/// notification, and path and id are cut from a shared piece of memory.
pub(super) struct Requests {
    authority: Authority,
    authorization: Option<HeaderValue>,
    templates: Vec<(Arc<Notification>, HeaderMap)>,
    text: BytesMut,
    /// Whether the peer's header table knows the name `apns-id`.
    named_id: bool,
}

/// The token is no hexadecimal text.
pub(super) struct MalformedToken;

impl Requests {
    pub(super) fn new(authority: Authority) -> Self {
        Self {
            authority,
            authorization: None,
            templates: Vec::with_capacity(TEMPLATES_MAX),
            text: BytesMut::new(),
            named_id: false,
        }
    }

    /// The value of `authorization` from now on.
    pub(super) fn authorize(&mut self, authorization: HeaderValue) {
        if self.authorization.as_ref() != Some(&authorization) {
            self.authorization = Some(authorization);
            self.templates.clear();
        }
    }

    pub(super) fn request<T>(
        &mut self,
        delivery: &Delivery<T>,
    ) -> Result<Request<()>, MalformedToken> {
        let path = self.path(&delivery.token).ok_or(MalformedToken)?;
        let mut headers = self.template(&delivery.notification).clone();
        headers.insert(APNS_ID, self.id(delivery.id));
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTPS);
        uri.authority = Some(self.authority.clone());
        uri.path_and_query = Some(path);
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_parts(uri).map_err(|_| MalformedToken)?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn path(&mut self, token: &str) -> Option<PathAndQuery> {
        let well_formed = !token.is_empty()
            && token.len() <= TOKEN_LEN_MAX
            && token.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !well_formed {
            return None;
        }
        self.reserve(PATH.len() + token.len());
        self.text.put_slice(PATH);
        self.text.put_slice(token.as_bytes());
        PathAndQuery::from_maybe_shared(self.text.split().freeze()).ok()
    }

    fn id(&mut self, id: Uuid) -> HeaderValue {
        let mut text = [0; 36];
        id.hyphenated().encode_lower(&mut text);
        self.reserve(text.len());
        self.text.put_slice(&text);
        let text: Bytes = self.text.split().freeze();
        let mut value =
            HeaderValue::from_maybe_shared(text).expect("a UUID's text is a header value");
        // Apple asks for the name to be put into the header table once and for the value never to be; h2 does that
        // with values that are marked as sensitive.
        value.set_sensitive(self.named_id);
        self.named_id = true;
        value
    }

    fn reserve(&mut self, len: usize) {
        if self.text.capacity() < len {
            self.text = BytesMut::with_capacity(TEXT_PIECE);
        }
    }

    fn template(&mut self, notification: &Arc<Notification>) -> &HeaderMap {
        let known = |(of, _): &(Arc<Notification>, HeaderMap)| Arc::ptr_eq(of, notification);
        let at = self.templates.iter().position(known).unwrap_or_else(|| {
            let mut headers = HeaderMap::with_capacity(8);
            headers.extend(notification.headers());
            if let Some(authorization) = &self.authorization {
                headers.insert(AUTHORIZATION, authorization.clone());
            }
            if self.templates.len() == TEMPLATES_MAX {
                self.templates.remove(0);
            }
            self.templates.push((Arc::clone(notification), headers));
            self.templates.len() - 1
        });
        &self.templates[at].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Route;

    fn delivery(token: &str) -> Delivery<()> {
        Delivery {
            token: token.into(),
            id: Uuid::from_u128(0x123e_4567_e89b_42d3_a456_4266_1417_4000),
            notification: Arc::new(Notification::alert("com.example.app", "Hello").expect("valid")),
            route: Route::default(),
            tag: (),
        }
    }

    #[test]
    fn a_request_has_apples_path_and_headers() {
        let mut requests = Requests::new(Authority::from_static("localhost:2197"));
        let mut bearer = HeaderValue::from_static("bearer a.b.c");
        bearer.set_sensitive(true);
        requests.authorize(bearer);
        for sent in 0..2 {
            let request = requests.request(&delivery("0aF1")).ok().expect("a request");
            assert_eq!(request.method(), Method::POST);
            assert_eq!(
                request.uri().to_string(),
                "https://localhost:2197/3/device/0aF1"
            );
            let headers = request.headers();
            assert_eq!(headers["apns-topic"], "com.example.app");
            assert_eq!(headers["apns-push-type"], "alert");
            assert_eq!(headers["apns-id"], "123e4567-e89b-42d3-a456-426614174000");
            assert_eq!(headers["apns-id"].is_sensitive(), sent > 0);
            assert_eq!(headers["authorization"], "bearer a.b.c");
        }
        requests.authorize(HeaderValue::from_static("bearer d.e.f"));
        let request = requests.request(&delivery("0aF1")).ok().expect("a request");
        assert_eq!(request.headers()["authorization"], "bearer d.e.f");
    }

    #[test]
    fn a_token_that_is_no_hexadecimal_text_makes_no_request() {
        let mut requests = Requests::new(Authority::from_static("localhost"));
        let long = "a".repeat(TOKEN_LEN_MAX + 1);
        for token in ["", "xyz", "ab cd", "ab/cd", "ab?cd", "abé", long.as_str()] {
            assert!(requests.request(&delivery(token)).is_err(), "{token:?}");
        }
    }
}
