//! Codes that are numbers, as most makers have them.

/// A maker's table: `name = number "meaning"`. Those that its module does not use come by a fault only.
macro_rules! codes {
    ($($name:ident = $number:literal $meaning:literal),+ $(,)?) => {
        /// A code of an answer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code {
            $($name),+
        }

        impl Code {
            const ALL: &[Self] = &[$(Self::$name),+];

            pub(crate) fn number(self) -> i64 {
                match self {
                    $(Self::$name => $number),+
                }
            }

            pub(crate) fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning),+
                }
            }

            /// The code that a fault's reason names.
            pub(crate) fn of(digits: &str) -> Option<Self> {
                let number = digits.parse::<i64>().ok()?;
                let named = |code: &Self| code.number() == number;
                Self::ALL.iter().copied().find(named)
            }

            /// A refusal in its own words.
            pub(crate) fn refusal(self, message: impl Into<String>) -> $crate::codes::Refusal<Self> {
                $crate::codes::Refusal {
                    code: self,
                    message: message.into(),
                }
            }
        }
    };
}

pub(crate) use codes;

/// Why a request is refused as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Refusal<C> {
    pub(crate) code: C,
    pub(crate) message: String,
}
