//! Devices: `/v1/devices`. A device registers without a secret, since the app key is public, and proves itself by the
//! secret that it got then.

pub(crate) mod body;

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use tidings_model::{AppId, DeviceId, Platform};
use tidings_store::{ChannelChange, ChannelRecord, Device, DeviceChange, NewDevice, TagChange};

use super::{Done, rfc3339};
use crate::api::Api;
use crate::api::auth::{AuthedDevice, Caller, ManagedDevice, bearer};
use crate::api::error::{ApiError, Fault, shown};
use crate::api::http::RawBody;
use body::{Channel, Channels, DevicePatch, Registration};

#[derive(Debug, Serialize)]
pub(crate) struct RegisteredReply {
    registration_id: String,
    device_secret: String,
}

/// A device as it is shown to itself and to its app's back end.
#[derive(Debug, Serialize)]
pub(crate) struct DeviceReply {
    alias: Option<String>,
    app_version: Option<String>,
    channels: Vec<ChannelReply>,
    created_at: String,
    locale: Option<String>,
    platform: Platform,
    registration_id: String,
    tags: Vec<String>,
    time_zone: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ChannelReply {
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'static str>,
    provider: &'static str,
    registered_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl From<ChannelRecord> for ChannelReply {
    fn from(channel: ChannelRecord) -> Self {
        Self {
            environment: channel.environment.map(|environment| environment.name()),
            provider: channel.provider.name(),
            registered_at: rfc3339(channel.registered_at),
            token: channel.token,
        }
    }
}

impl From<Device> for DeviceReply {
    fn from(device: Device) -> Self {
        Self {
            alias: device.alias.map(|alias| alias.to_string()),
            app_version: device.app_version,
            channels: device.channels.into_iter().map(Into::into).collect(),
            created_at: rfc3339(device.created_at),
            locale: device.locale,
            platform: device.platform,
            registration_id: device.id.to_string(),
            tags: device.tags.iter().map(ToString::to_string).collect(),
            time_zone: device.time_zone,
        }
    }
}

/// 201 for a new device; 200 for one whose token is known and that proves itself by its secret: it stays the device that it
/// was and gets a new secret. Without the proof a known token moves to the new device.
pub(crate) async fn register(
    State(api): State<Api>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<(StatusCode, Json<RegisteredReply>), ApiError> {
    let registration = Registration::parse(&body)?;
    let app = api.app(&registration.app_key.to_string()).await?.id;
    let registered = api
        .store
        .register(NewDevice {
            alias: registration.alias,
            app,
            app_version: registration.app_version,
            channels: channel_changes(&registration.channels),
            locale: registration.locale,
            platform: registration.platform,
            // Whatever else is there proves nothing, and a registration needs no proof.
            proof: bearer(&headers).ok(),
            tags: registration.tags,
            time_zone: registration.time_zone,
        })
        .await?;
    let device = registered.id;
    let status = match registered.created {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let reply = RegisteredReply {
        registration_id: device.to_string(),
        device_secret: registered.secret.expose().to_owned(),
    };
    Ok((status, Json(reply)))
}

/// For the device itself, its app's back end, or an administrator.
pub(crate) async fn show(device: ManagedDevice) -> Json<DeviceReply> {
    Json(device.device.into())
}

impl Api {
    /// A device that `caller` may see, and its app.
    pub(crate) async fn device(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<(AppId, Device), ApiError> {
        let unknown = || {
            let text = format!("registration_id {} is that of no device", shown(id));
            ApiError::new(Fault::DeviceUnknown, text).with_field("registration_id")
        };
        let Ok(id) = id.parse() else {
            return Err(unknown());
        };
        let found = self.store.device_by_id(id).await?;
        found
            .filter(|(app, _)| caller.may_see(*app))
            .ok_or_else(unknown)
    }
}

pub(crate) async fn change(
    State(api): State<Api>,
    AuthedDevice { app, device }: AuthedDevice,
    RawBody(body): RawBody,
) -> Result<Json<DeviceReply>, ApiError> {
    apply_profile(&api, app, device.id, device.platform, &body).await?;
    let device = api.store.device(app, device.id).await?;
    let device = device.ok_or_else(forgotten_meanwhile)?;
    Ok(Json(device.into()))
}

/// Changes a device as it says, by HTTP or over the link.
pub(crate) async fn apply_profile(
    api: &Api,
    app: AppId,
    device: DeviceId,
    platform: Platform,
    body: &[u8],
) -> Result<(), ApiError> {
    let patch = DevicePatch::parse(body)?;
    if let Some(channels) = &patch.channels {
        channels.check(platform)?;
    }
    let change = DeviceChange {
        alias: patch.alias,
        app_version: patch.app_version,
        channels: patch.channels.as_ref().map(channel_changes),
        locale: patch.locale,
        tags: patch.tags.map(TagChange::Replace),
        time_zone: patch.time_zone,
    };
    let changed = api.store.change_device(app, device, change).await?;
    changed.map(drop).ok_or_else(forgotten_meanwhile)
}

fn forgotten_meanwhile() -> ApiError {
    ApiError::new(Fault::DeviceUnknown, "The device has been forgotten.")
}

/// Forgets a device and all its data; for whom [`show`] is for.
pub(crate) async fn forget(
    State(api): State<Api>,
    ManagedDevice { app, device }: ManagedDevice,
) -> Result<Done, ApiError> {
    api.store.delete_device(app, device.id).await?;
    Ok(Done)
}

fn channel_changes(channels: &Channels) -> Vec<ChannelChange> {
    let change = |channel: &Channel| ChannelChange {
        environment: channel.environment,
        provider: channel.provider,
        token: channel.token.clone(),
    };
    channels.as_slice().iter().map(change).collect()
}
