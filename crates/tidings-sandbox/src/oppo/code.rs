//! OPPO's codes; 0 is success.

use crate::codes::codes;

pub(crate) type Refusal = crate::codes::Refusal<Code>;

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

impl Code {
    /// Whether it is said of single ids.
    pub(crate) fn is_of_token(self) -> bool {
        self.number() >= 10_000
    }
}
