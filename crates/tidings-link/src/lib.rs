//! The link: devices connected over MQTT.
