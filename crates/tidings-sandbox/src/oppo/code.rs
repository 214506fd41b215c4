//! OPPO's codes.

use http::StatusCode;
use serde_json::Value;

use crate::answer::Answer;
use crate::oppo::answer;

macro_rules! codes {
    ($($name:ident = $number:literal $meaning:literal),+ $(,)?) => {
        /// A code of a refusal; 0 is none.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code {
            $($name),+
        }

        impl Code {
            const ALL: &[Self] = &[$(Self::$name),+];

            pub(crate) fn number(self) -> i64 {
                match self {
                    $(Self::$name => $number),+
                }
            }

            pub(crate) fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning),+
                }
            }
        }
    };
}

// Most come by a fault only.
codes! {
    Unavailable = -1 "Service unavailable",
    FlowControl = -2 "Service in flow control",
    BadToken = 11 "Invalid auth token",
    WrongMethod = 12 "HTTP method not allowed",
    CallLimit = 13 "App call limited",
    BadAppKey = 14 "Invalid app key",
    NoAppKey = 15 "Missing app key",
    BadSignature = 16 "Invalid signature",
    NoSignature = 17 "Missing signature",
    NoTimestamp = 18 "Missing timestamp",
    BadTimestamp = 19 "Invalid timestamp",
    IpBlackListed = 26 "The IP is black-listed",
    NoRight = 27 "No right for this function",
    AppDisabled = 28 "The app is disabled",
    NoToken = 29 "Missing auth token",
    NoApiRight = 30 "No right to push by the API",
    NoSuchData = 31 "The data does not exist",
    Duplicate = 32 "Duplicate data",
    DailyQuota = 33 "The daily message quota is exceeded",
    PictureQuota = 34 "The picture quota is exceeded",
    MissingArgument = 40 "Missing required arguments",
    BadArgument = 41 "Invalid arguments",
    SavedQuota = 42 "The daily quota of saved messages is exceeded",
    BadPicture = 51 "Bad picture",
    TemplateMissing = 54 "The private message template is missing or wrong",
    CallFrequency = 55 "App call frequency limited",
    NoSecondaryLink = 59 "No right for a secondary link",
    CategoryError = 67 "Category error",
    Restricted = 69 "Global restriction",
    BadRegid = 10000 "Invalid registration id",
    NotSubscribed = 10001 "The registration id is not subscribed",
}

/// Why a request is refused as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Code {
    pub(crate) fn of(digits: &str) -> Option<Self> {
        let number: i64 = digits.parse().ok()?;
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.number() == number)
    }

    /// Whether it is said of single ids.
    pub(crate) fn is_of_token(self) -> bool {
        self.number() >= 10_000
    }

    pub(crate) fn refusal(self, message: impl Into<String>) -> Refusal {
        Refusal {
            code: self,
            message: message.into(),
        }
    }
}

impl Refusal {
    pub(crate) fn answer(self) -> Answer {
        answer(
            StatusCode::OK,
            self.code.number(),
            &self.message,
            Value::Null,
        )
    }
}
