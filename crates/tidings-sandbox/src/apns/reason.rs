//! Apple's reasons for refusing a request.

use http::StatusCode;

macro_rules! reasons {
    ($($name:ident = $status:literal),+ $(,)?) => {
        /// A reason and its status (Apple, "Handling notification responses from APNs").
        ///
        /// Those that tell of Apple's own load, of key scopes or of a lost connection are met only by a fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Reason {
            $($name),+
        }

        impl Reason {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),+];

            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name)),+
                }
            }

            pub(crate) fn status(self) -> StatusCode {
                let status: u16 = match self {
                    $(Self::$name => $status),+
                };
                StatusCode::from_u16(status).expect("the table holds valid statuses")
            }
        }
    };
}

reasons! {
    BadCertificate = 403,
    BadCertificateEnvironment = 403,
    BadChannelId = 400,
    BadCollapseId = 400,
    BadDeviceToken = 400,
    BadEnvironmentKeyIdInToken = 403,
    BadExpirationDate = 400,
    BadMessageId = 400,
    BadPath = 404,
    BadPriority = 400,
    BadRequestParams = 400,
    BadRequestPayload = 400,
    BadTopic = 400,
    CannotCreateChannelConfig = 400,
    ChannelNotRegistered = 400,
    DeviceTokenNotForTopic = 400,
    DuplicateHeaders = 400,
    ExpiredProviderToken = 403,
    ExpiredToken = 410,
    FeatureNotEnabled = 400,
    Forbidden = 403,
    IdleTimeout = 400,
    InternalServerError = 500,
    InvalidProviderToken = 403,
    InvalidPushType = 400,
    MethodNotAllowed = 405,
    MissingChannelId = 400,
    MissingChannelQueueSize = 400,
    MissingDeviceToken = 400,
    MissingProviderToken = 403,
    MissingPushType = 400,
    MissingTopic = 400,
    PayloadEmpty = 400,
    PayloadTooLarge = 413,
    ServiceUnavailable = 503,
    Shutdown = 503,
    TooManyProviderTokenUpdates = 429,
    TooManyRequests = 429,
    TopicDisallowed = 400,
    TopicMismatch = 403,
    UnrelatedKeyIdInToken = 403,
    Unregistered = 410,
}

impl Reason {
    /// The reason of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.name() == name)
    }

    /// The reason that a status most often comes with; none where Apple has many.
    pub(crate) fn usual_for(status: StatusCode) -> Option<Self> {
        match status.as_u16() {
            404 => Some(Self::BadPath),
            405 => Some(Self::MethodNotAllowed),
            410 => Some(Self::Unregistered),
            413 => Some(Self::PayloadTooLarge),
            429 => Some(Self::TooManyRequests),
            500 => Some(Self::InternalServerError),
            503 => Some(Self::ServiceUnavailable),
            _ => None,
        }
    }
}
