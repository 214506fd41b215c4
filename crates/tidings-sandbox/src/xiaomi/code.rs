//! Xiaomi's codes; 0 is success.

use crate::codes::codes;

pub(crate) type Refusal = crate::codes::Refusal<Code>;

codes! {
    Unknown = -1 "Unknown error",
    Internal = 10001 "System error",
    Unavailable = 10002 "Service temporarily unavailable",
    Remote = 10003 "Remote service error",
    BadParameterOld = 10008 "Parameter error, please refer to the API document",
    BadValue = 10012 "Illegal request",
    MissingRequired = 10016 "Missing required parameter",
    BadParameter = 10017 "Parameter value is invalid",
    IpNotListed = 10022 "The IP is not on the white list",
    TooOften = 10027 "The API is called too often",
    InvalidDevice = 10029 "Invalid device",
    BlackListed = 10031 "The app is black-listed",
    Forbidden = 10033 "The app is forbidden",
    TooManyToday = 10034 "Too many messages today",
    RequestExpired = 10037 "The request has expired",
    TextNotAllowed = 10041 "The title or description is not allowed",
    AllRegidsBad = 20301 "Failed to send: no valid targets!",
    SystemBusy = 20607 "System busy",
    AuthFailed = 21301 "Auth failed",
    AuthRestricted = 21302 "Auth restricted",
    AuthIllegal = 21303 "Auth illegal",
    MissingParameter = 21305 "Missing required parameter",
    IllegalApp = 22000 "Illegal application",
    WrongAppId = 22006 "Invalid application id",
    WrongAppKey = 22007 "Invalid application key",
    WrongPackage = 22022 "Invalid application package name",
    DatabaseFailed = 22102 "Database error",
    SendFailed = 26003 "Sending failed",
    BroadcastTooOften = 26004 "Broadcast too often",
    NeedsAudit = 26006 "The message needs an audit",
    ChannelMismatch = 27001 "The channel information does not match",
    DeviceNotFound = 65003 "The device was not found",
    TooLong = 65009 "The content is too long",
    NothingSupplied = 65011 "No registration id is supplied",
    TooManyPairs = 65014 "Too many extra pairs",
    PairsTooLong = 65015 "The extra pairs are too long",
    NoMessage = 65028 "The message was not found",
    Busy = 65029 "The server is busy",
    CallbackParam = 65036 "The callback parameter is too long",
    CallbackTooLong = 65037 "The callback is too long",
    CallbackIllegal = 65038 "The callback is illegal",
    RegidIllegal = 66007 "The registration id is illegal",
    ChannelQuota = 200001 "Channel daily quota exceeded, quota: 10000, acked: 10000",
    QpsQuota = 200002 "QPS quota exceeded",
}

impl Code {
    /// Whether it is said of single ids.
    pub(crate) fn is_of_token(self) -> bool {
        matches!(
            self,
            Self::AllRegidsBad | Self::InvalidDevice | Self::RegidIllegal
        )
    }
}
