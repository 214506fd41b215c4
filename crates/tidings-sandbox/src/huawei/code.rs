//! Huawei's codes, of all versions of the API.

use http::StatusCode;

macro_rules! codes {
    ($($name:ident = $digits:literal $status:literal $meaning:literal),+ $(,)?) => {
        /// A code of eight digits, which is a text on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code {
            $($name),+
        }

        impl Code {
            const ALL: &[Self] = &[$(Self::$name),+];

            pub(crate) fn digits(self) -> &'static str {
                match self {
                    $(Self::$name => $digits),+
                }
            }

            pub(crate) fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning),+
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

codes! {
    Success = "80000000" 200 "Success",
    PartialSuccess = "80100000" 200 "The message is sent to some tokens successfully",
    BadParameter = "80100001" 400 "Some request parameters are incorrect",
    SystemMessageTokens = "80100002" 400 "The number of tokens must be 1 when a message is sent in synchronous mode",
    BadStructure = "80100003" 400 "Incorrect message structure",
    ExpiryPast = "80100004" 400 "The message expiration time is earlier than the current time",
    BadCollapseKey = "80100013" 400 "The collapse_key message field is invalid",
    SensitiveWords = "80100016" 400 "A message contains sensitive information",
    TopicMessages = "80100017" 400 "A maximum of 100 topic-based messages can be sent at the same time",
    ImageNotVerified = "80100022" 400 "The image is not verified",
    ReviewMismatch = "80100018" 400 "Invalid bi_tag or a body that was not reviewed",
    AuthError = "80200001" 401 "OAuth authentication error",
    TokenExpired = "80200003" 401 "OAuth token expired",
    JwtExpired = "80200005" 401 "JWT expired",
    NotAllowed = "80300002" 200 "The current app does not have the permission to send messages",
    AllTokensInvalid = "80300007" 200 "All tokens are invalid",
    TooLarge = "80300008" 400 "The message body size exceeds the default value",
    TokenCount = "80300010" 400 "The number of tokens in the message body exceeds the default value",
    NoHighPriority = "80300011" 400 "You are not authorized to send high-priority notification messages",
    BadReceipt = "80300013" 400 "The receipt address or its certificate is wrong",
    TestRate = "80300029" 400 "Too many test messages",
    TestTokens = "80300030" 400 "A test message has 10 tokens at most",
    JwtTooLong = "80300036" 401 "The JWT lives longer than a day",
    Penalty = "80300037" 200 "Sending is disabled because of a penalty",
    OauthFailed = "80600003" 401 "Failed to request the OAuth service",
    Internal = "81000001" 500 "System internal error",
}

impl Code {
    pub(crate) fn of(digits: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.digits() == digits)
    }

    /// Whether a batch may have tokens of which this is said while the others are sent to.
    pub(crate) fn is_of_token(self) -> bool {
        matches!(self, Self::AllTokensInvalid | Self::PartialSuccess)
    }
}
