//! Sends with a2, one `Client` for each connection (a client keeps to one), each with as many sends under way as the
//! sink allows streams. Prints the same report as the others.

use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use a2::{
    Client, ClientConfig, DefaultNotificationBuilder, Endpoint, NotificationBuilder,
    NotificationOptions, Priority, PushType,
};
use futures_util::stream::{FuturesUnordered, StreamExt};

const STREAMS: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, count, connections, topic, text, key_id, team_id] = &args[..] else {
        return Err("usage: DIR COUNT CONNECTIONS TOPIC TEXT KEY_ID TEAM_ID".into());
    };
    let (count, connections): (usize, usize) = (count.parse()?, connections.parse()?);
    let key = fs::read(format!("{dir}/key.p8"))?;
    let (started, cpu) = (Instant::now(), cpu_seconds()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut taken = runtime.block_on(async {
        let mut clients = Vec::new();
        for _ in 0..connections {
            let config = ClientConfig::new(Endpoint::Sandbox);
            clients.push(Client::token(&mut &key[..], key_id, team_id, config)?);
        }
        let send = |number: usize| {
            let client = &clients[number % connections];
            async move {
                let begun = Instant::now();
                let token = format!("{number:064x}");
                let id = format!("00000000-0000-0000-0000-{number:012x}");
                let options = NotificationOptions {
                    apns_id: Some(&id),
                    apns_topic: Some(topic),
                    apns_push_type: Some(PushType::Alert),
                    apns_priority: Some(Priority::High),
                    ..NotificationOptions::default()
                };
                let payload = DefaultNotificationBuilder::new()
                    .set_body(text)
                    .build(&token, options);
                client.send(payload).await?;
                Ok::<Duration, a2::Error>(begun.elapsed())
            }
        };
        let mut flying = FuturesUnordered::new();
        let mut numbers = 0..count;
        flying.extend(numbers.by_ref().take(STREAMS * connections).map(send));
        let mut taken = Vec::with_capacity(count);
        while let Some(sent) = flying.next().await {
            taken.push(sent?);
            flying.extend(numbers.next().map(send));
        }
        Ok::<_, a2::Error>(taken)
    })?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    taken.sort_unstable();
    let quantile = |part: f64| taken[((count - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    println!(
        r#"{{"seconds":{seconds},"cpu_seconds":{cpu},"p50_ms":{},"p99_ms":{}}}"#,
        quantile(0.5),
        quantile(0.99)
    );
    Ok(())
}

/// User and system time so far (proc_pid_stat(5), 100 ticks a second).
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}
