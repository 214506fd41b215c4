//! vivo's codes; 0 is success.

use crate::codes::codes;

pub(crate) type Refusal = crate::codes::Refusal<Code>;

codes! {
    // The sandbox's own, for what vivo documents no code.
    Malformed = -1 "malformed",
    BadToken = 10000 "authToken is missing, wrong or expired",
    TryLater = 10040 "Resource limit, try later",
    PushOff = 10043 "The app's push is switched off",
    InReview = 10045 "The app is in review",
    NoRegid = 10050 "regId and alias are empty",
    BadClassification = 10051 "The classification does not support this kind",
    BadNotifyType = 10054 "notifyType is illegal",
    NoTitle = 10055 "title is empty",
    TitleTooLong = 10056 "title has 40 characters at most",
    NoContent = 10057 "content is empty",
    ContentTooLong = 10058 "content has 100 characters at most",
    BadTimeToLive = 10059 "timeToLive is illegal",
    BadSkipType = 10060 "skipType is illegal",
    NoSkipContent = 10061 "skipContent is empty",
    SkipContentTooLong = 10062 "skipContent is too long",
    BadNetworkType = 10065 "networkType is illegal",
    BadCustomMap = 10067 "clientCustomMap is illegal",
    OperationQuota = 10070 "The operation quota is used up",
    OutsideHours = 10071 "Outside the allowed hours",
    TooFast = 10072 "Sending too fast",
    SystemQuota = 10073 "The system quota is used up",
    NoSystemRight = 10082 "No right to system messages",
    NotFormal = 10085 "The content is not that of a formal message",
    NoBadge = 10089 "The client does not support badges",
    AppMismatch = 10094 "authToken and appId differ",
    BadNotifyId = 10095 "notifyId is illegal",
    BadCategory = 10096 "category is illegal",
    CategoryMismatch = 10097 "category and classification do not fit",
    Sensitive = 10103 "Sensitive content",
    NotFormalToo = 10104 "Send formal messages",
    NoRegids = 10150 "regIds is empty",
    NoTask = 10151 "taskId is empty",
    BadTask = 10152 "taskId is illegal",
    BadCount = 10153 "regIds has 2 to 1000 entries",
    NoSuchTask = 10155 "The saved message is unknown or has expired",
    NoAppId = 10200 "appId is empty",
    NoAppKey = 10201 "appKey is empty",
    BadAppKey = 10202 "appKey is wrong",
    NoTimestamp = 10203 "timestamp is empty",
    NoSign = 10204 "sign is empty",
    BadAppId = 10205 "appId is unknown",
    BadSign = 10206 "sign is wrong",
    BadTimestamp = 10207 "timestamp is illegal",
    TooManySaved = 10252 "Too many saved messages",
    TooManyForAll = 10254 "Messages to all are used up",
    BadRegid = 10302 "The regId is unknown, or its app is gone",
    BadExtra = 10304 "A key of extra is unknown",
    CallbackTooLong = 10305 "callback has 128 characters at most",
    CallbackParamTooLong = 10306 "callback.param has 192 characters at most",
    NotNow = 10311 "The device cannot be pushed to now",
    NoRequestId = 10352 "requestId is empty",
    RequestIdTooLong = 10353 "requestId has 64 characters at most",
}

impl Code {
    /// Whether it is said of single ids.
    pub(crate) fn is_of_token(self) -> bool {
        matches!(self, Self::BadRegid | Self::NotNow)
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        code.refusal(code.meaning())
    }
}
