//! Tidings from the outside: the real binary, spoken to as back ends, phones and providers speak to it.

mod apns;
mod crash;
mod deletion;
mod disk;
mod doctor;
mod examples;
mod fallback;
mod faults;
mod histories;
mod huawei;
mod ignored;
mod instead;
mod lanes;
mod layers;
mod makers;
mod outage;
mod push;
mod receipts;
mod sdk;
mod size;
mod start;
mod support;
mod tokens;
mod vivo;
mod ways;
mod xiaomi;
