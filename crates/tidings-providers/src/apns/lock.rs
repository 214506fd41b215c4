//! The locks of RFC 7292 for two kinds of password that p12-keystore has no key for.
//!
//! A password becomes a BMPString with two zero bytes at its end (appendix B), so an empty one has two bytes. But
//! Keychain Access, asked for no password, gives the key derivation none, and OpenSSL, given one with characters
//! beyond the 65,536 that a BMPString can hold, writes them as UTF-16 does. OpenSSL opens all of these, and so do we:
//! what is locked in such a way is rewritten without lock and MAC.

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit, block_padding::Pkcs7};
use des::TdesEde3;
use rc2::Rc2;

use super::der::{self, Element, Reader, element};

const DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"; // 1.2.840.113549.1.7.1
const ENCRYPTED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x06"; // 1.2.840.113549.1.7.6
const KEY_BAG: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x01"; // 1.2.840.113549.1.12.10.1.1
const SHROUDED_KEY_BAG: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x02"; // 1.2.840.113549.1.12.10.1.2
const PBE_3DES: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x03"; // 1.2.840.113549.1.12.1.3
const PBE_RC2_40: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x06"; // 1.2.840.113549.1.12.1.6
const SHA1_OID: &[u8] = b"\x2b\x0e\x03\x02\x1a"; // 1.3.14.3.2.26
const SHA256_OID: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01"; // 2.16.840.1.101.3.4.2.1
const SHA384_OID: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x02"; // 2.16.840.1.101.3.4.2.2
const SHA512_OID: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x03"; // 2.16.840.1.101.3.4.2.3

/// Rounds of key derivation, at most: a second or so. Keychain Access takes 2,048.
const ROUNDS_MAX: u32 = 1_000_000;

/// What a derived key is for (RFC 7292, appendix B.3).
#[derive(Clone, Copy)]
enum Purpose {
    Encryption = 1,
    Iv = 2,
    Mac = 3,
}

/// The bytes of a password that p12-keystore cannot say; none for one that it can.
pub(super) fn unsayable(password: &str) -> Option<Vec<u8>> {
    if password.is_empty() {
        return Some(Vec::new());
    }
    let beyond_bmp = |c: char| u32::from(c) > 0xffff;
    password.contains(beyond_bmp).then(|| {
        let units = password.encode_utf16().chain([0]);
        units.flat_map(u16::to_be_bytes).collect()
    })
}

/// The same file in the clear and without a MAC; none when these bytes are not its password, or it is no .p12. What
/// is locked by PBES2 stays as it is: there, a password is its UTF-8, and p12-keystore can say it.
pub(super) fn unlock(pfx: &[u8], password: &[u8]) -> Option<Vec<u8>> {
    let mut pfx = Reader::new(pfx).expect(der::SEQUENCE)?.children();
    let version = pfx.expect(der::INTEGER)?;
    let mut auth_safe = pfx.expect(der::SEQUENCE)?.children();
    let data = auth_safe.expect(der::OID)?;
    let safes = inner(&mut auth_safe)?.expect(der::OCTET_STRING)?;
    if let Some(mac) = pfx.expect(der::SEQUENCE) {
        verify(mac, safes.content, password)?;
    }
    let mut opened = Vec::new();
    for safe in Reader::new(safes.content).expect(der::SEQUENCE)?.children() {
        opened.extend(open_safe(safe, password)?);
    }
    let safes = element(der::SEQUENCE, &[&opened])?;
    let safes = element(der::OCTET_STRING, &[&safes])?;
    let safes = element(der::CONTEXT_0, &[&safes])?;
    let auth_safe = element(der::SEQUENCE, &[data.raw, &safes])?;
    element(der::SEQUENCE, &[version.raw, &auth_safe])
}

/// What is inside the `[0]` that comes next.
fn inner<'a>(reader: &mut Reader<'a>) -> Option<Reader<'a>> {
    Some(reader.expect(der::CONTEXT_0)?.children())
}

/// `MacData ::= SEQUENCE { SEQUENCE { SEQUENCE { OID, … }, OCTET STRING mac }, OCTET STRING salt, INTEGER rounds
/// DEFAULT 1 }`
fn verify(mac: Element<'_>, data: &[u8], password: &[u8]) -> Option<()> {
    let mut mac = mac.children();
    let mut info = mac.expect(der::SEQUENCE)?.children();
    let algorithm = info.expect(der::SEQUENCE)?.children().expect(der::OID)?;
    let (hash, hmac) = match algorithm.content {
        SHA1_OID => (&SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        SHA256_OID => (&SHA256, HMAC_SHA256),
        SHA384_OID => (&SHA384, HMAC_SHA384),
        SHA512_OID => (&SHA512, HMAC_SHA512),
        _ => return None,
    };
    let tag = info.expect(der::OCTET_STRING)?;
    let salt = mac.expect(der::OCTET_STRING)?;
    let rounds = mac.next().map_or(Some(1), rounds)?;
    let len = hash.output_len();
    let key = derive(hash, Purpose::Mac, password, salt.content, rounds, len);
    hmac::verify(&hmac::Key::new(hmac, &key), data, tag.content).ok()
}

fn rounds(number: Element<'_>) -> Option<u32> {
    let bytes = number.content;
    let fits = number.tag == der::INTEGER && bytes.len() <= 4;
    let rounds = fits.then(|| {
        bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
    })?;
    (1..=ROUNDS_MAX).contains(&rounds).then_some(rounds)
}

/// One `ContentInfo` with its bags, opened: bags in the clear, or bags that are encrypted together.
fn open_safe(safe: Element<'_>, password: &[u8]) -> Option<Vec<u8>> {
    let mut info = safe.children();
    let kind = info.expect(der::OID)?;
    let mut content = inner(&mut info)?;
    match kind.content {
        DATA => data(&open_bags(
            content.expect(der::OCTET_STRING)?.content,
            password,
        )?),
        ENCRYPTED_DATA => {
            let mut encrypted = content.expect(der::SEQUENCE)?.children();
            encrypted.expect(der::INTEGER)?;
            let mut encrypted = encrypted.expect(der::SEQUENCE)?.children();
            encrypted.expect(der::OID)?;
            let Some(lock) = Lock::of(encrypted.expect(der::SEQUENCE)?) else {
                return Some(safe.raw.to_vec());
            };
            let bags = lock.open(encrypted.expect(der::CONTEXT_0_IMPLICIT)?.content, password)?;
            data(&open_bags(&bags, password)?)
        }
        _ => Some(safe.raw.to_vec()),
    }
}

/// A `ContentInfo` of plain bags.
fn data(bags: &[u8]) -> Option<Vec<u8>> {
    let bags = element(der::OCTET_STRING, &[bags])?;
    let bags = element(der::CONTEXT_0, &[&bags])?;
    element(der::SEQUENCE, &[&element(der::OID, &[DATA])?, &bags])
}

fn open_bags(bags: &[u8], password: &[u8]) -> Option<Vec<u8>> {
    let mut opened = Vec::new();
    for bag in Reader::new(bags).expect(der::SEQUENCE)?.children() {
        match open_key(bag, password) {
            Some(clear) => opened.extend(clear?),
            None => opened.extend_from_slice(bag.raw),
        }
    }
    element(der::SEQUENCE, &[&opened])
}

/// The bag of a key without its lock; the outer none is a bag that has none of these locks, the inner one that has
/// another password.
fn open_key(bag: Element<'_>, password: &[u8]) -> Option<Option<Vec<u8>>> {
    let mut parts = bag.children();
    parts
        .expect(der::OID)
        .filter(|kind| kind.content == SHROUDED_KEY_BAG)?;
    let mut key = inner(&mut parts)?.expect(der::SEQUENCE)?.children();
    let lock = Lock::of(key.expect(der::SEQUENCE)?)?;
    let locked = key.expect(der::OCTET_STRING)?;
    let attributes = parts.next().map_or(&[][..], |attributes| attributes.raw);
    Some(lock.open(locked.content, password).and_then(|clear| {
        let kind = element(der::OID, &[KEY_BAG])?;
        let clear = element(der::CONTEXT_0, &[&clear])?;
        element(der::SEQUENCE, &[&kind, &clear, attributes])
    }))
}

/// One of the ciphers of RFC 7292, appendix C, whose key comes from the password in its way.
struct Lock<'a> {
    cipher: Cipher,
    rounds: u32,
    salt: &'a [u8],
}

enum Cipher {
    Rc2,
    TripleDes,
}

impl<'a> Lock<'a> {
    /// `SEQUENCE { OID, SEQUENCE { OCTET STRING salt, INTEGER rounds } }`; none for other algorithms.
    fn of(algorithm: Element<'a>) -> Option<Self> {
        let mut algorithm = algorithm.children();
        let cipher = match algorithm.expect(der::OID)?.content {
            PBE_3DES => Cipher::TripleDes,
            PBE_RC2_40 => Cipher::Rc2,
            _ => return None,
        };
        let mut parameters = algorithm.expect(der::SEQUENCE)?.children();
        Some(Self {
            cipher,
            salt: parameters.expect(der::OCTET_STRING)?.content,
            rounds: rounds(parameters.next()?)?,
        })
    }

    fn open(&self, locked: &[u8], password: &[u8]) -> Option<Vec<u8>> {
        match self.cipher {
            Cipher::Rc2 => self.decrypt::<Rc2>(locked, password, 5),
            Cipher::TripleDes => self.decrypt::<TdesEde3>(locked, password, 24),
        }
    }

    fn decrypt<C: BlockCipherDecrypt + KeyInit>(
        &self,
        locked: &[u8],
        password: &[u8],
        key_len: usize,
    ) -> Option<Vec<u8>> {
        let hash = &SHA1_FOR_LEGACY_USE_ONLY;
        let derive = |purpose, len| derive(hash, purpose, password, self.salt, self.rounds, len);
        let key = derive(Purpose::Encryption, key_len);
        let iv = derive(Purpose::Iv, 8);
        let cipher = cbc::Decryptor::<C>::new_from_slices(&key, &iv).ok()?;
        cipher.decrypt_padded_vec::<Pkcs7>(locked).ok()
    }
}

/// RFC 7292, appendix B.2, in its names where they help.
fn derive(
    hash: &'static digest::Algorithm,
    purpose: Purpose,
    password: &[u8],
    salt: &[u8],
    rounds: u32,
    len: usize,
) -> Vec<u8> {
    let block = hash.block_len();
    let filled = |part: &[u8]| -> Vec<u8> {
        let len = block * part.len().div_ceil(block);
        part.iter().copied().cycle().take(len).collect()
    };
    let diversifier = vec![purpose as u8; block]; // D
    let mut input = [filled(salt), filled(password)].concat(); // I = S || P
    let mut key = Vec::new();
    while key.len() < len {
        let mut round = digest(hash, &[&diversifier[..], &input].concat());
        for _ in 1..rounds {
            round = digest(hash, round.as_ref());
        }
        let round = round.as_ref();
        key.extend_from_slice(round);
        for part in input.chunks_mut(block) {
            let mut sum = 1; // I_j = I_j + B + 1, from the last byte to the first
            for (place, byte) in part.iter_mut().enumerate().rev() {
                sum += u16::from(*byte) + u16::from(round[place % round.len()]);
                *byte = sum.to_le_bytes()[0];
                sum >>= 8;
            }
        }
    }
    key.truncate(len);
    key
}
