//! Just enough DER (X.690) to look into what p12-keystore and x509-parser leave closed: Apple's own extensions, and
//! the outer layers of a .p12.

pub(super) const BIT_STRING: u8 = 0x03;
/// `[0]` with elements inside.
pub(super) const CONTEXT_0: u8 = 0xa0;
/// `[0]` in the place of an octet string's own tag.
pub(super) const CONTEXT_0_IMPLICIT: u8 = 0x80;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const UTF8_STRING: u8 = 0x0c;

/// Bytes of content that the length's own long form can say here: more than anything here may have.
const LEN_MAX: usize = 0xff_ffff;

/// One element: its tag and what is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) content: &'a [u8],
    /// Tag, length and content, as they stand.
    pub(super) raw: &'a [u8],
    pub(super) tag: u8,
}

impl<'a> Element<'a> {
    /// The elements inside.
    pub(super) fn children(self) -> Reader<'a> {
        Reader::new(self.content)
    }
}

/// Reads elements one after another; ends early at what is no DER (a length that is indefinite, or longer than the
/// rest).
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(der: &'a [u8]) -> Self {
        Self { rest: der }
    }

    /// The next element, if it has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        self.next().filter(|element| element.tag == tag)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let whole = self.rest;
        let (&[tag, first], rest) = whole.split_first_chunk::<2>()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let len = bytes
                    .iter()
                    .fold(0, |len, byte| len << 8 | usize::from(*byte));
                (len, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        Some(Element {
            content,
            raw: &whole[..whole.len() - rest.len()],
            tag,
        })
    }
}

/// Writes one element around those parts; none when they are too long (16 MiB).
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Option<Vec<u8>> {
    let content = parts.concat();
    let len = content.len();
    let mut der = vec![tag];
    match len {
        0..=0x7f => der.push(u8::try_from(len).ok()?),
        0x80..=LEN_MAX => {
            let bytes = len.to_be_bytes();
            let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            der.push(0x80 | u8::try_from(bytes.len()).ok()?);
            der.extend_from_slice(bytes);
        }
        _ => return None,
    }
    der.extend(content);
    Some(der)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_follow_one_another_until_they_are_no_der() {
        let der = [
            0x30, 0x03, 0x02, 0x01, 0x07, 0x0c, 0x01, b'x', 0x04, 0x05, 0x00,
        ];
        let mut reader = Reader::new(&der);
        let number = reader
            .expect(SEQUENCE)
            .expect("a sequence")
            .children()
            .next();
        let expected = Element {
            content: &[7],
            raw: &[0x02, 0x01, 0x07],
            tag: INTEGER,
        };
        assert_eq!(number, Some(expected));
        assert_eq!(reader.next().map(|text| text.content), Some(&b"x"[..]));
        assert_eq!(reader.next(), None, "five bytes are promised, one is there");
    }

    #[test]
    fn long_lengths_are_read_and_indefinite_ones_are_not() {
        let mut long = vec![0x04, 0x82, 0x01, 0x00];
        long.extend([0xab; 256]);
        let content = Reader::new(&long)
            .next()
            .map(|element| element.content.len());
        assert_eq!(content, Some(256));
        assert_eq!(Reader::new(&[0x30, 0x80, 0, 0]).next(), None);
        assert_eq!(Reader::new(&[0x30, 0x84, 0, 0, 0, 0]).next(), None);
        assert_eq!(Reader::new(&[0x30]).next(), None);
    }

    #[test]
    fn what_is_written_can_be_read() {
        for len in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let content = vec![7; len];
            let der = element(OCTET_STRING, &[&content[..len / 2], &content[len / 2..]]);
            let der = der.expect("an element");
            let read = Reader::new(&der).expect(OCTET_STRING).expect("the same");
            assert_eq!((read.content, read.raw), (&content[..], &der[..]));
        }
    }
}
