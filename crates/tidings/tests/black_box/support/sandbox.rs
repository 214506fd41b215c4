//! A `tidings sandbox` process, which outlives the servers that use it.

use std::time::Duration;

use serde_json::Value;

use super::process::Process;
use super::{Answer, agent, call, pause};

pub(crate) struct Sandbox {
    agent: ureq::Agent,
    pub(crate) control: String,
    pub(crate) process: Process,
    pub(crate) url: String,
}

/// What reached a simulated phone.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) seq: u64,
    pub(crate) token: String,
}

impl Sandbox {
    pub(crate) fn start() -> Self {
        Self::at("127.0.0.1:0", "127.0.0.1:0")
    }

    pub(crate) fn at(listen: &str, control: &str) -> Self {
        Self::of(Process::start(&[
            "sandbox",
            "--listen",
            listen,
            "--control",
            control,
        ]))
    }

    /// One whose clock is ahead by so many milliseconds.
    pub(crate) fn start_ahead(ahead: i64) -> Self {
        let any = "127.0.0.1:0";
        let args = ["sandbox", "--listen", any, "--control", any];
        Self::of(Process::start_ahead(ahead, &args))
    }

    fn of(process: Process) -> Self {
        let (control, url) = (
            process.ready["control"].clone(),
            process.ready["sandbox"].clone(),
        );
        Self {
            agent: agent(),
            control,
            process,
            url,
        }
    }

    pub(crate) fn kill(self) {
        self.process.kill();
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.answer(method, path, body).good()
    }

    pub(crate) fn answer(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let url = format!("{}/v1/sandbox/{path}", self.control);
        call(&self.agent, method, &url, "", body)
    }

    /// The deliveries after `seq`, all of them.
    pub(crate) fn deliveries_after(&self, seq: u64) -> Vec<Delivery> {
        let mut deliveries: Vec<Delivery> = Vec::new();
        loop {
            let after = deliveries.last().map_or(seq, |delivery| delivery.seq);
            let page = self.call(
                "GET",
                &format!("deliveries?after={after}&limit=10000"),
                None,
            );
            let page = page["deliveries"].as_array().expect("a list");
            if page.is_empty() {
                return deliveries;
            }
            deliveries.extend(page.iter().map(|delivery| Delivery {
                id: delivery["id"].as_str().expect("an id").to_owned(),
                seq: delivery["seq"].as_u64().expect("a number"),
                token: delivery["token"].as_str().expect("a token").to_owned(),
            }));
        }
    }

    /// The tokens and texts of the deliveries after `seq`, in the order in which they came.
    pub(crate) fn texts_after(&self, seq: u64) -> Vec<(String, String)> {
        let mut texts = Vec::new();
        let mut after = seq;
        loop {
            let page = self.call(
                "GET",
                &format!("deliveries?after={after}&limit=10000"),
                None,
            );
            let page = page["deliveries"].as_array().expect("a list");
            let Some(last) = page.last() else {
                return texts;
            };
            after = last["seq"].as_u64().expect("a number");
            texts.extend(page.iter().map(|delivery| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let alert = &delivery["payload"]["aps"]["alert"];
                (text(&delivery["token"]), text(alert))
            }));
        }
    }

    /// Whether there have been so many deliveries.
    pub(crate) fn has(&self, seq: u64) -> bool {
        let page = self.call(
            "GET",
            &format!("deliveries?after={}&limit=1", seq.saturating_sub(1)),
            None,
        );
        seq == 0 || page["deliveries"][0].is_object()
    }

    /// As [`Self::deliveries_after`], once nothing comes any more from a server that was killed or halted.
    pub(crate) fn settled_after(&self, seq: u64) -> Vec<Delivery> {
        let mut deliveries = self.deliveries_after(seq);
        loop {
            pause(Duration::from_millis(100));
            let after = deliveries.last().map_or(seq, |delivery| delivery.seq);
            let more = self.deliveries_after(after);
            if more.is_empty() {
                return deliveries;
            }
            deliveries.extend(more);
        }
    }
}
