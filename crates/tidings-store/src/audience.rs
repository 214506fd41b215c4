//! An audience as pages of devices, in the order of their ids, from one provider's channels.

use rusqlite::types::ToSql;
use rusqlite::{Connection, params_from_iter};
use tidings_model::{
    AppId, Audience, DeviceId, Environment, Message, MsgId, Platform, PlatformSet, Provider,
    UnixMillis,
};

use crate::codes::{AsCode, Code};
use crate::{Store, StoreError};

/// Those devices of an app that one message can reach by one provider.
#[derive(Clone, Debug)]
pub struct Scope {
    pub app: AppId,
    pub audience: Audience,
    /// Devices that registered later than the message are not its targets.
    pub before: MsgId,
    pub platforms: PlatformSet,
    pub provider: Provider,
    /// Devices that are reached by this provider instead.
    pub without: Option<Provider>,
}

impl Scope {
    /// None when nothing of the message goes by `provider`.
    pub fn of(message: &Message, provider: Provider) -> Option<Self> {
        let reach = message.push.reach(provider)?;
        Some(Self {
            app: message.app,
            audience: message.push.audience.clone(),
            before: message.id,
            platforms: reach.platforms,
            provider,
            without: reach.without,
        })
    }
}

/// One device of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub device: DeviceId,
    pub environment: Option<Environment>,
    pub platform: Platform,
    pub registered_at: UnixMillis,
    /// None on the link.
    pub token: Option<Box<str>>,
}

impl Store {
    /// The next devices of a scope after `after`, up to `limit`; at the end, fewer.
    pub async fn targets(
        &self,
        scope: &Scope,
        after: DeviceId,
        limit: usize,
    ) -> Result<Vec<Target>, StoreError> {
        let scope = scope.clone();
        let last = DeviceId(scope.before.0);
        self.engine
            .read(move |sql| select(sql, &scope, after, last, limit))
            .await
    }

    /// The devices of a scope from `first` to `last`: a page once more.
    pub async fn targets_between(
        &self,
        scope: &Scope,
        first: DeviceId,
        last: DeviceId,
    ) -> Result<Vec<Target>, StoreError> {
        let scope = scope.clone();
        self.engine
            .read(move |sql| select(sql, &scope, DeviceId(first.0 - 1), last, usize::MAX))
            .await
    }

    /// Whether a scope has any device.
    pub async fn reaches_any(&self, scope: &Scope) -> Result<bool, StoreError> {
        Ok(!self.targets(scope, DeviceId(0), 1).await?.is_empty())
    }

    /// How many devices of each platform a scope has.
    pub async fn count_targets(&self, scope: &Scope) -> Result<Vec<(Platform, u64)>, StoreError> {
        let scope = scope.clone();
        let count = move |sql: &Connection| {
            let mut query = Query::of(&scope, DeviceId(0), DeviceId(scope.before.0));
            query.text.push_str(" GROUP BY c.platform");
            let text = format!("SELECT c.platform, count(*) {}", query.text);
            let mut select = sql.prepare_cached(&text)?;
            let rows = select.query_map(params_from_iter(query.values.iter()), |row| {
                Ok((
                    row.get::<_, AsCode<Platform>>(0)?.0,
                    row.get::<_, i64>(1)?.unsigned_abs(),
                ))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        self.engine.read(count).await
    }
}

/// The devices of a scope with `after` < id <= `last`, in order.
pub(crate) fn select(
    sql: &Connection,
    scope: &Scope,
    after: DeviceId,
    last: DeviceId,
    limit: usize,
) -> Result<Vec<Target>, StoreError> {
    let mut query = Query::of(scope, after, last);
    let limit = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let device = &query.device;
    let text = format!(
        "SELECT c.device, c.environment, c.platform, c.registered_at, c.token {} ORDER BY {device} LIMIT {limit}",
        query.text
    );
    let mut select = sql.prepare_cached(&text)?;
    let rows = select.query_map(params_from_iter(query.values.iter()), |row| {
        Ok(Target {
            device: DeviceId(row.get(0)?),
            environment: row.get::<_, AsCode<Option<Environment>>>(1)?.0,
            platform: row.get::<_, AsCode<Platform>>(2)?.0,
            registered_at: UnixMillis(row.get(3)?),
            token: row.get::<_, Option<String>>(4)?.map(String::into_boxed_str),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A `FROM … WHERE …` and what is bound in it.
struct Query {
    /// The column that has the device's id and the scan's order.
    device: String,
    text: String,
    values: Vec<Box<dyn ToSql>>,
}

impl Query {
    /// What drives the scan is the narrowest of what is asked: devices, then aliases, then a single tag, then all
    /// channels. Each but the short lists comes in device order, so a page costs what it holds and not what is left; of
    /// several tags each would be in order but their union not, so there the channels are scanned and probed. The order
    /// of the tables is fixed by CROSS JOIN, since the planner knows nothing of the sizes.
    fn of(scope: &Scope, after: DeviceId, last: DeviceId) -> Self {
        let mut query = Self {
            device: String::new(),
            text: String::new(),
            values: Vec::new(),
        };
        let app = query.bind(scope.app.0);
        let provider = query.bind(AsCode(scope.provider));
        let (after, last) = (query.bind(after.0), query.bind(last.0));
        let in_page = |column: &str| format!("{column} > {after} AND {column} <= {last}");

        let mut from = Vec::new();
        let mut conditions = Vec::new();
        let mut device = "c.device".to_owned();
        if let Audience::Selection(selection) = &scope.audience {
            if !selection.devices.is_empty() {
                let listed = query.list(selection.devices.iter().map(|device| device.0));
                device = "w.value".into();
                from.push(format!(
                    "(SELECT DISTINCT value FROM json_each({listed})) AS w"
                ));
            }
            if !selection.aliases.is_empty() {
                let listed = query.list(selection.aliases.iter().map(|alias| alias.as_str()));
                from.push("devices AS d".into());
                conditions.push(format!(
                    "d.app = {app} AND d.alias IN (SELECT value FROM json_each({listed}))"
                ));
                if selection.devices.is_empty() {
                    device = "d.id".into();
                } else {
                    conditions.push(format!("d.id = {device}"));
                }
            }
            match selection.tags.as_slice() {
                [] => {}
                [tag] if device == "c.device" => {
                    let tag = query.bind(tag.as_str().to_owned());
                    from.push("device_tags AS t".into());
                    conditions.push(format!("t.app = {app} AND t.tag = {tag}"));
                    device = "t.device".into();
                }
                tags => {
                    let listed = query.list(tags.iter().map(|tag| tag.as_str()));
                    conditions.push(format!(
                        "EXISTS (SELECT 1 FROM json_each({listed}) AS g CROSS JOIN device_tags AS t
                                 WHERE t.app = {app} AND t.tag = g.value AND t.device = c.device)"
                    ));
                }
            }
        }
        from.push("channels AS c".into());
        conditions.push(format!("c.app = {app} AND c.provider = {provider}"));
        conditions.push(in_page(&device));
        if device != "c.device" {
            conditions.push(format!("c.device = {device}"));
        }
        if scope.platforms != PlatformSet::ALL {
            let listed = scope
                .platforms
                .iter()
                .map(|platform| platform.code().to_string())
                .collect::<Vec<_>>();
            conditions.push(format!("c.platform IN ({})", listed.join(", ")));
        }
        if let Some(other) = scope.without {
            let other = query.bind(AsCode(other));
            conditions.push(format!(
                "NOT EXISTS (SELECT 1 FROM channels AS o WHERE o.app = {app} AND o.provider = {other} AND o.device = c.device)"
            ));
        }
        query.device = device;
        query.text = format!(
            "FROM {} WHERE {}",
            from.join(" CROSS JOIN "),
            conditions.join(" AND ")
        );
        query
    }

    /// Binds a value and gives its placeholder.
    fn bind(&mut self, value: impl ToSql + 'static) -> String {
        self.values.push(Box::new(value));
        format!("?{}", self.values.len())
    }

    /// Binds a list as JSON text, for `json_each`.
    fn list<V: Into<serde_json::Value>>(&mut self, values: impl Iterator<Item = V>) -> String {
        self.bind(serde_json::Value::from_iter(values.map(Into::into)).to_string())
    }
}
