//! A phone maker's channel as the tests see it, and a stage for it.

use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_model::UnixMillis;

use super::sandbox::Sandbox;
use super::server::{Device, Server};
use super::stage::Stage;
use super::wait_for;

/// What differs between the makers.
pub(crate) struct Maker {
    pub(crate) name: &'static str,
    pub(crate) platform: &'static str,
    /// Phones of one request.
    pub(crate) batch: usize,
    /// Fields that make the credential that the sandbox tells a wrong one.
    pub(crate) wrong: fn(&Value) -> Value,
    /// Where it is mended.
    pub(crate) console: &'static str,
    pub(crate) access: Access,
    /// The reason of a fault that calls all addresses of a request bad.
    pub(crate) all_bad: &'static str,
    /// A fault that calls the sender too fast, as JSON.
    pub(crate) too_fast: &'static str,
    /// Whether each message says where its receipts go; else the console does.
    pub(crate) names_callback: bool,
    /// What it tells of phones, besides that a message has arrived.
    pub(crate) tells: &'static [&'static str],
    /// The reason of a fault that calls the day's quota spent, if it has one.
    pub(crate) quota: Option<&'static str>,
}

/// How access is had.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// By access tokens that it gives.
    Given,
    /// By what is made here; a fault of this reason calls it expired.
    Made(&'static str),
    /// By a secret or a signature, which does not end.
    Shown,
}

/// What a simulated phone got.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) at: i64,
    pub(crate) payload: Value,
    pub(crate) request: u64,
    pub(crate) token: String,
}

/// A server beside simulated makers, and one of them.
pub(crate) struct MakerStage {
    pub(crate) maker: &'static Maker,
    stage: Stage,
}

impl Deref for MakerStage {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl MakerStage {
    pub(crate) fn new(maker: &'static Maker) -> Self {
        let stage = Stage::wired();
        Self { maker, stage }
    }

    /// The same, all of it so long before a midnight in China.
    pub(crate) fn before_midnight(maker: &'static Maker, lead: Duration) -> Self {
        const DAY_MS: i64 = 24 * 3_600_000;
        let real = UnixMillis::now();
        let in_china = real.plus(Duration::from_secs(8 * 3600));
        let begins = UnixMillis(DAY_MS - in_china.0.rem_euclid(DAY_MS));
        let stage = Stage::ahead(begins.minus(lead).0);
        Self { maker, stage }
    }

    /// How the simulated maker's limits stand.
    pub(crate) fn quota(&self) -> Value {
        let path = format!("quotas/{}", self.maker.name);
        self.sandbox.call("GET", &path, None)
    }

    /// Sets the simulated maker's limits.
    pub(crate) fn set_quota(&self, quota: &Value) {
        let path = format!("quotas/{}", self.maker.name);
        self.sandbox.call("PUT", &path, Some(quota));
    }

    /// Ends the server and starts it again.
    pub(crate) fn restart(&mut self) {
        self.restart_after(|_| {});
    }

    /// The same; meanwhile something may be done to its data.
    pub(crate) fn restart_after(&mut self, change: impl FnOnce(&Path)) {
        self.stage.server.process.end();
        change(self.stage.data.path());
        let control = Some(self.stage.sandbox.control.as_str());
        self.stage.server = Server::start(self.stage.data.path(), control);
    }

    pub(crate) fn token(number: usize) -> String {
        format!("IQAAAACy0{number:08}-phone_Token")
    }

    pub(crate) fn phone(&self, number: usize) -> Value {
        json!({
            "app_key": self.app.key,
            "platform": self.maker.platform,
            "channels": [{"provider": self.maker.name, "token": Self::token(number)}],
        })
    }

    pub(crate) fn register(&self, count: usize) -> Vec<Device> {
        self.server
            .register_many(count, |number| self.phone(number))
    }

    /// Has the maker send its receipts to the server.
    pub(crate) fn lead_receipts(&self) {
        let path = format!("/v1/apps/{}/callbacks", self.app.key);
        let told = self.server.admin("GET", &path, None).good();
        let url = told[self.maker.name].as_str().expect("an address");
        if self.maker.names_callback {
            self.set_credential(&json!({"callback": url}));
            return;
        }
        let secret = url.rsplit('/').next();
        let console = json!({"url": url, "user": self.app.key, "secret": secret});
        let path = format!("receipts/{}", self.maker.name);
        self.sandbox.call("PUT", &path, Some(&console));
    }

    /// Something happens to phones, and the maker tells it; the server takes it.
    #[track_caller]
    pub(crate) fn happens(&self, what: &Value) {
        let path = format!("receipts/{}", self.maker.name);
        let told = self.sandbox.call("POST", &path, Some(what));
        let posted = told["posted"].as_array().expect("a list");
        assert!(!posted.is_empty(), "{told}");
        for post in posted {
            assert_eq!(post["status"], 200, "{told}");
        }
    }

    /// Gives a device the token of another number.
    pub(crate) fn change(&self, device: &Device, number: usize) {
        let channels = self.phone(number)["channels"].clone();
        let path = format!("/v1/devices/{}", device.id);
        let auth = format!("Bearer {}", device.secret);
        let body = json!({"channels": channels});
        self.server.call("PATCH", &path, &auth, Some(&body)).good();
    }

    /// What reached phones, but for the question of a check.
    pub(crate) fn got(&self) -> Vec<Got> {
        let path = format!("deliveries?provider={}&limit=10000", self.maker.name);
        let page = self.sandbox.call("GET", &path, None);
        let deliveries = page["deliveries"].as_array().expect("a list");
        let got = deliveries.iter().map(|delivery| Got {
            at: delivery["at"].as_i64().expect("a time"),
            payload: delivery["payload"].clone(),
            request: delivery["request"].as_u64().expect("a number"),
            token: delivery["token"].as_str().expect("a token").to_owned(),
        });
        got.filter(|got| got.token != "tidings-check").collect()
    }

    /// The payload that the one phone got.
    pub(crate) fn got_one(&self) -> Value {
        let got = self.got();
        let [only] = &got[..] else {
            panic!("{got:?}");
        };
        assert_eq!(only.token, Self::token(1));
        only.payload.clone()
    }

    pub(crate) fn meet(&self, mut fault: Value) {
        fault["provider"] = self.maker.name.into();
        self.sandbox.call("POST", "faults", Some(&fault));
    }

    pub(crate) fn meet_none(&self) {
        self.sandbox.call("DELETE", "faults", None);
    }

    /// The makers are gone, until [`Self::come_back`].
    pub(crate) fn go_away(&mut self) {
        self.stage.sandbox.process.end();
    }

    /// The makers are where they were; of what they knew they know nothing.
    pub(crate) fn come_back(&mut self) {
        let sandbox = &mut self.stage.sandbox;
        let listen = sandbox.url.replace("https://", "");
        let control = sandbox.control.replace("http://", "");
        *sandbox = Sandbox::at(&listen, &control);
    }

    pub(crate) fn uninstall(&self, number: usize) {
        let path = format!("phones/{}/{}", self.maker.name, Self::token(number));
        let state = json!({"state": "uninstalled"});
        self.sandbox.call("PUT", &path, Some(&state));
    }

    /// Lets the access that there is end.
    pub(crate) fn end_access(&self) {
        match self.maker.access {
            Access::Given => {
                let path = format!("tokens/{}", self.maker.name);
                self.sandbox.call("DELETE", &path, None);
            }
            Access::Made(reason) => self.meet(json!({"reason": reason, "count": 1})),
            Access::Shown => {}
        }
    }

    /// How many access tokens it has given out.
    pub(crate) fn access_tokens(&self) -> u64 {
        let path = format!("tokens/{}", self.maker.name);
        let told = self.sandbox.call("GET", &path, None);
        told["issued"].as_u64().expect("a number")
    }

    /// The credential that the sandbox tells.
    pub(crate) fn told(&self) -> Value {
        let told = self.sandbox.call("GET", "credentials", None);
        let mut own = told[self.maker.name].clone();
        own["ca"] = told["ca"].clone();
        own
    }

    /// Sets the credential that the sandbox tells, changed.
    pub(crate) fn set_credential(&self, changed: &Value) -> Value {
        let mut body = self.told();
        for (name, value) in changed.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let path = format!("/v1/apps/{}/credentials/{}", self.app.key, self.maker.name);
        self.server.admin("PUT", &path, Some(&body)).good()
    }

    pub(crate) fn check(&self) -> Value {
        let path = format!(
            "/v1/apps/{}/credentials/{}/check",
            self.app.key, self.maker.name
        );
        self.server.admin("POST", &path, None).good()["checks"][0].clone()
    }

    /// What `tidings doctor` says of the one credential, which is bad: its health, and in words.
    #[track_caller]
    pub(crate) fn complaint(&self) -> (String, String) {
        let (code, lines) = self.doctor(&[]);
        assert_eq!(code, Some(1), "{lines:?}");
        let begin = format!(
            "!!  app {} (test), {}: health ",
            self.app.key, self.maker.name
        );
        let complaint = lines.iter().find_map(|line| line.strip_prefix(&begin));
        let complaint = complaint.unwrap_or_else(|| panic!("{lines:?}"));
        let (health, words) = complaint.split_once(". ").expect("a sentence");
        (health.to_owned(), words.to_owned())
    }

    pub(crate) fn rejected(&self) -> Value {
        wait_for("the health", || {
            let credential = self.credential();
            (credential["health"] == "rejected").then_some(credential)
        })
    }

    pub(crate) fn has_token(&self, message: &str, device: &Device) -> bool {
        self.journey(message, &device.id)["channels"] != json!([])
    }

    /// Waits until the device has lost its token: it goes just after its page.
    pub(crate) fn wait_for_dead(&self, message: &str, device: &Device) {
        wait_for("the token's end", || {
            (!self.has_token(message, device)).then_some(())
        });
    }
}
