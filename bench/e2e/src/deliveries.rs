//! What reached the simulated phones, read from the sandbox after the push.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bench_apns::job::Job;

use crate::backend::call;

pub(crate) struct Deliveries {
    /// Phones that got nothing.
    pub(crate) lost: usize,
    /// Phones that got more than one.
    pub(crate) doubled: usize,
    /// Milliseconds from the acceptance to each delivery, by the sandbox's clock, which is this machine's.
    pub(crate) millis: Vec<f64>,
}

impl Deliveries {
    /// Those after the delivery `seq`, to the iPhones 0 to `iphones`.
    pub(crate) fn read(
        control: &str,
        seq: usize,
        iphones: usize,
        accepted_at: SystemTime,
    ) -> Result<Self> {
        let accepted_ms = accepted_at.duration_since(UNIX_EPOCH)?.as_millis() as i64;
        let agent = ureq::Agent::new_with_defaults();
        let mut times = vec![0_u32; iphones];
        let mut millis = Vec::with_capacity(iphones);
        let mut after = seq as u64;
        loop {
            let url = format!("{control}/v1/sandbox/deliveries?after={after}&limit=10000");
            let page = call(&agent, "GET", &url, "", None)?;
            let page = page["deliveries"].as_array().context("no deliveries")?;
            for delivery in page {
                let number = delivery["token"].as_str().and_then(Job::number);
                let number = number.context("a token that is not ours")?;
                *times.get_mut(number).context("a token of nobody")? += 1;
                let at = delivery["at"].as_i64().context("no time")?;
                millis.push((at - accepted_ms).max(0) as f64);
                after = delivery["seq"].as_u64().context("no seq")?;
            }
            if page.is_empty() {
                break;
            }
        }
        let phones = |wanted: fn(&u32) -> bool| times.iter().filter(|times| wanted(times)).count();
        Ok(Self {
            lost: phones(|times| *times == 0),
            doubled: phones(|times| *times > 1),
            millis,
        })
    }
}

/// One delivery, as the simulated Apple took it.
pub(crate) struct Taken {
    /// Milliseconds since the epoch.
    pub(crate) at: i64,
    pub(crate) seq: u64,
    pub(crate) text: String,
}

/// The deliveries after `seq`, up to `limit`.
pub(crate) fn after(control: &str, seq: u64, limit: usize) -> Result<Vec<Taken>> {
    let url = format!("{control}/v1/sandbox/deliveries?after={seq}&limit={limit}");
    let page = call(&ureq::Agent::new_with_defaults(), "GET", &url, "", None)?;
    let page = page["deliveries"].as_array().context("no deliveries")?;
    page.iter()
        .map(|delivery| {
            let alert = &delivery["payload"]["aps"]["alert"];
            let text = alert.as_str().or_else(|| alert["body"].as_str());
            Ok(Taken {
                at: delivery["at"].as_i64().context("no time")?,
                seq: delivery["seq"].as_u64().context("no seq")?,
                text: text.unwrap_or_default().to_owned(),
            })
        })
        .collect()
}

/// All after `seq`; the sequence goes on behind the last of them.
pub(crate) fn drain(control: &str, seq: &mut u64) -> Result<Vec<Taken>> {
    let mut all = Vec::new();
    loop {
        let page = after(control, *seq, 10_000)?;
        match page.last() {
            Some(last) => *seq = last.seq,
            None => return Ok(all),
        }
        all.extend(page);
    }
}
