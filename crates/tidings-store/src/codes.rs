//! The numbers that stand for closed sets in the database. They are part of the schema: never reuse one.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use tidings_model::{Environment, Platform, Provider};

/// A value and its number.
pub(crate) trait Code: Copy {
    fn code(self) -> i64;
    fn from_code(code: i64) -> Option<Self>;
}

macro_rules! codes {
    ($type:ty, $($variant:path = $code:literal),+) => {
        impl $crate::codes::Code for $type {
            fn code(self) -> i64 {
                match self { $($variant => $code),+ }
            }

            fn from_code(code: i64) -> Option<Self> {
                match code { $($code => Some($variant),)+ _ => None }
            }
        }
    };
}

pub(crate) use codes;

codes!(
    Provider,
    Provider::Apns = 1,
    Provider::Link = 2,
    Provider::Huawei = 3,
    Provider::Honor = 4,
    Provider::Xiaomi = 5,
    Provider::Oppo = 6,
    Provider::Vivo = 7,
    Provider::Meizu = 8,
    Provider::Hmos = 9
);
codes!(
    Platform,
    Platform::Android = 1,
    Platform::Hmos = 2,
    Platform::Ios = 3,
    Platform::Web = 4,
    Platform::Windows = 5
);
codes!(
    Environment,
    Environment::Production = 1,
    Environment::Sandbox = 2
);

/// Binds a [`Code`] as its number; `None` of an optional one is 0.
#[derive(Clone, Copy)]
pub(crate) struct AsCode<T>(pub(crate) T);

impl<T: Code> ToSql for AsCode<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.code().into())
    }
}

impl<T: Code> FromSql for AsCode<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let code = value.as_i64()?;
        T::from_code(code)
            .map(Self)
            .ok_or(FromSqlError::OutOfRange(code))
    }
}

impl<T: Code> Code for Option<T> {
    fn code(self) -> i64 {
        self.map_or(0, Code::code)
    }

    fn from_code(code: i64) -> Option<Self> {
        if code == 0 {
            Some(None)
        } else {
            T::from_code(code).map(Some)
        }
    }
}
