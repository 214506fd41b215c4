//! Packets by hand, written from the standard and sharing nothing with the codec.

/// A packet with this first byte and body.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut len = body.len();
    loop {
        let low = (len % 128) as u8;
        len /= 128;
        bytes.push(if len > 0 { low | 128 } else { low });
        if len == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// A string or binary field.
pub(crate) fn field(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut bytes = (content.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes
}

/// A property block.
pub(crate) fn properties(content: &[u8]) -> Vec<u8> {
    let mut bytes = packet(0, content);
    bytes.remove(0);
    bytes
}

/// CONNECT of MQTT 5 with client id `d1`, user `app`, password `secret`.
pub(crate) fn connect_v5(keep_alive: u16, content: &[u8]) -> Vec<u8> {
    let body = [
        &field("MQTT")[..],
        &[5, 0b1100_0010],
        &keep_alive.to_be_bytes(),
        &properties(content),
        &field("d1"),
        &field("app"),
        &field("secret"),
    ]
    .concat();
    packet(0x10, &body)
}

/// CONNECT of MQTT 3.1.1, the same.
pub(crate) fn connect_v311(keep_alive: u16) -> Vec<u8> {
    let body = [
        &field("MQTT")[..],
        &[4, 0b1100_0010],
        &keep_alive.to_be_bytes(),
        &field("d1"),
        &field("app"),
        &field("secret"),
    ]
    .concat();
    packet(0x10, &body)
}

/// PUBLISH at QoS 1 to `topic`, with an empty property block on MQTT 5.
pub(crate) fn publish(v5: bool, topic: &str, id: u16, payload: &str) -> Vec<u8> {
    let block: &[u8] = if v5 { &[0] } else { &[] };
    let body = [
        &field(topic)[..],
        &id.to_be_bytes(),
        block,
        payload.as_bytes(),
    ]
    .concat();
    packet(0x32, &body)
}

/// PUBACK in its short form, the same in both versions.
pub(crate) fn puback(id: u16) -> Vec<u8> {
    packet(0x40, &id.to_be_bytes())
}

pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0];
pub(crate) const PINGRESP: [u8; 2] = [0xD0, 0];

/// No bytes.
pub(crate) const NOTHING: [u8; 0] = [];
