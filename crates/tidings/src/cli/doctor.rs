//! `tidings doctor`.

use anyhow::Result;
use clap::Args;
use futures_util::{StreamExt, TryFutureExt, stream};
use http::Method;
use serde_json::{Value, json};
use tidings_model::AppKey;

use super::output::{Output, printable};
use super::{AdminRemote, Answer};
use crate::http_client::Client;

/// Apps that are examined at once: each may take as long as its provider does not answer.
const AT_ONCE: usize = 8;

/// Ask the server, and each credential's provider, whether all is well; ends with 1 when something needs attention
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Only this app
    #[arg(long, value_name = "APP_KEY")]
    app: Option<AppKey>,
    #[command(flatten)]
    remote: AdminRemote,
}

impl Doctor {
    pub(super) async fn answer(self) -> Result<Answer> {
        let client = self.remote.client()?;
        let examined = match client.get("/v1/version").await {
            Ok(told) => {
                let apps = match self.app {
                    Some(app) => vec![client.get(&format!("/v1/apps/{app}")).await?],
                    None => super::app::all(&client).await?,
                };
                let apps = stream::iter(&apps).map(|app| examine(&client, app));
                let apps: Vec<Value> = apps.buffered(AT_ONCE).collect().await;
                self.report(json!({"version": told["version"], "error": null}), apps)
            }
            Err(error) => {
                let error = format!("{error:#}");
                self.report(json!({"version": null, "error": error}), Vec::new())
            }
        };
        let text = match self.remote.output() {
            Output::Json => Output::Json.record(&examined),
            Output::Text => lines(&examined),
        };
        Ok(Answer {
            is_well: examined["well"] == true,
            text,
        })
    }

    fn report(&self, mut server: Value, apps: Vec<Value>) -> Value {
        server["url"] = self.remote.remote.server.as_str().into();
        let is_well = server["error"].is_null() && apps.iter().all(is_app_well);
        json!({"apps": apps, "server": server, "well": is_well})
    }
}

/// An app with its credentials, each with the check of it. What the server refuses stands in `error`.
async fn examine(client: &Client, app: &Value) -> Value {
    let key = app["app_key"].as_str().unwrap_or_default();
    let path = format!("/v1/apps/{key}/credentials");
    let examined = credentials(client, &path).await;
    let (credentials, error) = match examined {
        Ok(credentials) => (credentials, None),
        Err(error) => (Vec::new(), Some(format!("{error:#}"))),
    };
    json!({"app_key": key, "credentials": credentials, "error": error, "name": app["name"]})
}

async fn credentials(client: &Client, path: &str) -> Result<Vec<Value>> {
    let list = async || {
        let listed = client
            .get(path)
            .map_ok(|mut reply| reply["credentials"].take());
        Ok::<_, anyhow::Error>(listed.await?.as_array().cloned().unwrap_or_default())
    };
    let mut providers: Vec<Value> = Vec::new();
    for credential in list().await? {
        if !providers.contains(&credential["provider"]) {
            providers.push(credential["provider"].clone());
        }
    }
    let mut checks = Vec::new();
    for provider in providers.iter().filter_map(Value::as_str) {
        let path = format!("{path}/{provider}/check");
        let reply = client.call(Method::POST, &path, None).await?;
        for check in reply["checks"].as_array().into_iter().flatten() {
            checks.push((provider, check.clone()));
        }
    }
    // Read again: a check may have changed the health.
    let mut credentials = list().await?;
    for credential in &mut credentials {
        let found = checks.iter().find(|(provider, check)| {
            credential["provider"] == **provider
                && credential["environment"] == check["environment"]
        });
        let check = found.map(|(_, check)| check.clone());
        credential["check"] = check.unwrap_or_default();
        credential["well"] = is_credential_well(credential).into();
    }
    Ok(credentials)
}

fn is_credential_well(credential: &Value) -> bool {
    credential["health"] == "good" && credential["check"]["result"] == "good"
}

fn is_app_well(app: &Value) -> bool {
    let credentials = app["credentials"].as_array();
    app["error"].is_null() && credentials.into_iter().flatten().all(is_credential_well)
}

/// A line for the server, for each credential, and for each app without any.
fn lines(examined: &Value) -> String {
    let mark = |is_well: bool| if is_well { "ok" } else { "!!" };
    let server = &examined["server"];
    let url = text(&server["url"]);
    let mut lines = vec![match &server["error"] {
        Value::Null => format!("ok  server {url}: Tidings {}", text(&server["version"])),
        error => format!("!!  server {url}: {}", text(error)),
    }];
    for app in examined["apps"].as_array().into_iter().flatten() {
        let name = format!("app {} ({})", text(&app["app_key"]), text(&app["name"]));
        let credentials = app["credentials"].as_array().map(Vec::as_slice);
        match (&app["error"], credentials.unwrap_or_default()) {
            (Value::Null, []) => lines.push(format!("--  {name}: no credential")),
            (Value::Null, credentials) => lines.extend(credentials.iter().map(|credential| {
                let mark = mark(is_credential_well(credential));
                format!("{mark}  {name}, {}", told(credential))
            })),
            (error, _) => lines.push(format!("!!  {name}: {}", text(error))),
        }
    }
    let bad = lines.iter().filter(|line| line.starts_with("!!")).count();
    lines.push(match bad {
        0 => "all is well".to_owned(),
        1 => "1 line needs attention".to_owned(),
        _ => format!("{bad} lines need attention"),
    });
    lines.into_iter().map(|line| line + "\n").collect()
}

/// What is told of a credential.
fn told(credential: &Value) -> String {
    let field = |key: &str| text(&credential[key]);
    let expiry = match (
        credential["expires_in_days"].as_i64(),
        field("health").as_str(),
    ) {
        (None, _) => "does not expire".to_owned(),
        (Some(_), "expired") | (Some(..0), _) => "has expired: set a new one".to_owned(),
        (Some(0), _) => "expires within a day: set a new one".to_owned(),
        (Some(1), _) => "expires in 1 day: set a new one".to_owned(),
        (Some(days), "expiring") => format!("expires in {days} days: set a new one"),
        (Some(days), _) => format!("expires in {days} days"),
    };
    let check = &credential["check"];
    let found = match check {
        Value::Null => "It was set while the others were checked; check again.".to_owned(),
        check => match &check["reason"] {
            Value::Null => text(&check["text"]),
            reason => format!("{} [{}]", text(&check["text"]), text(reason)),
        },
    };
    let spent = credential["spent"].as_array().into_iter().flatten();
    let spent: String = spent.map(quota_told).collect();
    let (provider, health) = (field("provider"), field("health"));
    // A maker's has neither worlds nor kinds, and does not expire.
    match credential["kind"].is_string() {
        false => format!("{provider}: health {health}. {spent}{found}"),
        true => format!(
            "{provider} {}: {} for {}, health {health}, {expiry}. {spent}{found}",
            field("environment"),
            field("kind"),
            field("topic"),
        ),
    }
}

/// What is told of a quota that is used up.
fn quota_told(spent: &Value) -> String {
    let field = |key: &str| text(&spent[key]);
    let of = match field("class").as_str() {
        "" => String::new(),
        class => format!(" of {class} messages"),
    };
    format!(
        "Its quota{of} is used up ({}): nothing of it is sent before {}. ",
        field("reason"),
        field("until"),
    )
}

fn text(value: &Value) -> String {
    printable(value.as_str().unwrap_or("-"))
}
