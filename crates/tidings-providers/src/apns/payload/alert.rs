//! What a notification shows.

use serde::Serialize;
use serde_json::{Map, Value};

/// What is shown. Apple recommends parts over a text. Apple, table 2 in [Generating a remote notification](https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Alert {
    /// An object that is passed on as it is: what is not yet typed.
    Object(Map<String, Value>),
    /// Texts, or keys into the app's translations.
    Parts(Box<AlertParts>),
    /// The body alone.
    Text(String),
}

/// The parts of an alert, as texts or as keys into the app's own translations (`Localizable.strings`). A key stands in
/// place of its text; each `%@` in the translation is replaced by the next of its arguments. What is empty is left out.
/// Apple, table 2 in [Generating a remote notification](https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AlertParts {
    /// `body`: the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// `launch-image`: the picture or storyboard in the app that is shown while it starts from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch_image: Option<String>,
    /// `loc-args`: arguments of `loc_key`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loc_args: Vec<String>,
    /// `loc-key`: in place of `body`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loc_key: Option<String>,
    /// `subtitle`: more about the purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subtitle: Option<String>,
    /// `subtitle-loc-args`: arguments of `subtitle_loc_key`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subtitle_loc_args: Vec<String>,
    /// `subtitle-loc-key`: in place of `subtitle`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subtitle_loc_key: Option<String>,
    /// `title`: short enough for a watch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// `title-loc-args`: arguments of `title_loc_key`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub title_loc_args: Vec<String>,
    /// `title-loc-key`: in place of `title`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title_loc_key: Option<String>,
}
