//! Huawei's Push Kit for HarmonyOS 5 and later ("NEXT"), API v3: another body than v1's, another kind of credential, and the same
//! codes.
//! Huawei: [Scenario-based push](https://developer.huawei.com/consumer/en/doc/harmonyos-references/push-scenariozed-api-request-struct).

mod credential;
mod notification;

use bytes::Bytes;
use tidings_model::{Outcome, Reason, UnixMillis};

use crate::batch::meaning::dead;
use crate::batch::{Access, Answer, Pace, Protocol, Request, Response, SignIn};
use crate::huawei::answer;

pub use credential::{Credential, CredentialError, LIFE};
pub use notification::{
    BODY_LEN_MAX, Badge, Click, Content, LINE_CHARS_MAX, LINES_MAX, Message, Notification,
    PushType, Shown, Style, TTL_MAX, Target,
};

/// Tokens of one request, at most; of a test message, and of one that draws a card anew.
pub const TOKENS_MAX: usize = 1000;
const TEST_TOKENS_MAX: usize = 10;
const CARD_TOKENS_MAX: usize = 1;

/// What a [`batch::Config`](crate::batch::Config) for HarmonyOS NEXT is made with.
#[derive(Clone, Debug)]
pub struct Hmos {
    /// The project's.
    pub credential: Credential,
}

impl Protocol for Hmos {
    const NAME: &'static str = "Huawei (HarmonyOS)";
    const ENDPOINT: &'static str = "https://push-api.cloud.huawei.com";
    const TOKEN_ENDPOINT: Option<&'static str> = None;
    /// Huawei shows each app's figure in its console, in devices a second; this is the floor that it gives for v1.
    const PACE: Pace = Pace {
        devices: Some(6000),
        requests: None,
    };

    type Notification = Notification;

    fn batch_max(notification: &Notification) -> usize {
        match notification.push_type() {
            PushType::Card => CARD_TOKENS_MAX,
            _ if notification.is_test() => TEST_TOKENS_MAX,
            _ => TOKENS_MAX,
        }
    }

    fn sign_in(&self, now: UnixMillis) -> SignIn {
        SignIn::Have(Access {
            token: self.credential.jwt(now),
            lives: LIFE,
        })
    }

    fn is_over(notification: &Notification, now: UnixMillis) -> bool {
        notification.is_over(now)
    }

    fn request(
        &self,
        notification: &Notification,
        tokens: &[&str],
        access: &str,
        now: UnixMillis,
    ) -> Request {
        Request {
            path: format!("/v3/{}/messages:send", self.credential.project_id()),
            headers: vec![
                ("authorization", format!("Bearer {access}")),
                ("content-type", "application/json".to_owned()),
                ("push-type", notification.push_type().number().to_owned()),
            ],
            body: Bytes::from(notification.body(tokens, now)),
        }
    }

    fn answer(&self, response: &Response, tokens: &[&str]) -> Answer {
        unless_all(answer::answer(Self::NAME, response, tokens, of_reason))
    }

    fn probe(&self) -> Option<Notification> {
        let shown = Shown {
            category: "MARKETING".to_owned(),
            title: "check".to_owned(),
            body: "check".to_owned(),
            ..Shown::default()
        };
        let message = Message {
            content: Content::Alert(Box::new(shown)),
            bi_tag: None,
            expires_at: None,
            is_test: false,
            receipt_id: None,
        };
        Notification::new(&message).ok()
    }
}

const NO_RIGHT: &str = "noRight";

/// What v3 says of single tokens.
fn of_reason(reason: &str) -> Option<Outcome> {
    let word = Reason::heard(reason);
    Some(match reason {
        // It is none of HarmonyOS NEXT: whatever the credential is.
        "tokenFormatError" | "tokenPlatformNotSupport" => Outcome::Unregistered {
            certain: true,
            reason: word,
            since: None,
        },
        // Of another project, or of a phone that was another system's.
        NO_RIGHT => dead(word),
        "disableSendHuaweiMsgBecauseOfPenalty" => Outcome::CredentialRejected { reason: word },
        "appinfoError" => Outcome::Throttled {
            reason: word,
            after: None,
        },
        // A right is missing, the picture is not verified, the country is another, or it is new: the token stays.
        _ => Outcome::PayloadRejected { reason: word },
    })
}

/// When no token of a request is the project's, it is rather the credential that is another's: the tokens stay.
fn unless_all(answer: Answer) -> Answer {
    let has_no_right = |outcome: &Outcome| matches!(outcome, Outcome::Unregistered { reason, .. } if reason.as_str() == NO_RIGHT);
    match answer {
        Answer::Each(outcomes) if outcomes.iter().all(has_no_right) => {
            Answer::All(Outcome::PayloadRejected {
                reason: Reason::known(NO_RIGHT),
            })
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::batch::meaning::tests::{response, words};

    fn said(status: u16, code: &str, illegal: &serde_json::Value) -> Answer {
        let msg = json!({"success": 1, "failure": 1, "illegalTokens": illegal}).to_string();
        let body = json!({"code": code, "msg": msg, "requestId": "r"});
        let response = response(status, &body);
        unless_all(answer::answer(
            Hmos::NAME,
            &response,
            &["a", "b"],
            of_reason,
        ))
    }

    #[test]
    fn every_reason_asks_for_what_huawei_says() {
        for (reason, expected) in [
            ("tokenFormatError", "dead"),
            ("tokenPlatformNotSupport", "dead"),
            (" noRight ", "dead"),
            ("noPushTypeRight", "payload"),
            ("noRightToSendThisLiveNotificationEvent", "payload"),
            ("notSupportPlayVoice", "payload"),
            ("atomicUnableSendUnsubscribedMsg", "payload"),
            ("differentImgVerifyPolicy", "payload"),
            ("countryNotSupport", "payload"),
            ("somethingNew", "payload"),
            ("disableSendHuaweiMsgBecauseOfPenalty", "credential"),
            ("appinfoError", "again"),
        ] {
            let partial = said(200, "80100000", &json!({reason: ["b"]}));
            assert_eq!(words(&partial), ["accepted", expected], "{reason}");
            let all = said(200, "80300007", &json!({reason: ["a", "b"]}));
            match reason.trim() {
                // Then it is rather the credential, and the tokens stay.
                NO_RIGHT => assert_eq!(words(&all), ["payload"]),
                _ => assert_eq!(words(&all), [expected, expected], "{reason}"),
            }
        }
        let unsaid = said(200, "80300007", &json!({}));
        assert_eq!(words(&unsaid), ["dead"]);
    }

    #[test]
    fn only_the_code_decides_whether_an_answer_can_be_read() {
        for side in [json!(null), json!(7), json!({"a": 1}), json!([])] {
            let body = json!({"code": 80_000_000, "msg": side, "requestId": side});
            let said = answer::answer(Hmos::NAME, &response(200, &body), &["a"], of_reason);
            assert_eq!(words(&said), ["accepted"], "{side}");
        }
    }

    #[test]
    fn a_partial_success_of_none_is_none() {
        let msg = json!({"success": 0, "failure": 2, "illegal_tokens": []}).to_string();
        for msg in [json!(msg), serde_json::from_str(&msg).expect("JSON")] {
            let body = json!({"code": "80100000", "msg": msg});
            let said = answer::answer(Hmos::NAME, &response(200, &body), &["a", "b"], of_reason);
            assert_eq!(words(&said), ["later"], "{msg}");
        }
    }

    #[test]
    fn an_expired_jwt_is_made_anew() {
        assert_eq!(words(&said(401, "80200005", &json!({}))), ["access"]);
        assert_eq!(words(&said(401, "80300036", &json!({}))), ["credential"]);
    }
}
