//! An operation is a type: method, path, who may call it, what it takes and what it answers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    decode::Decode,
    envelope::Meta,
    error::ErrorCode,
    money::{Currencies, exponents},
    page::{Included, Page, Pagination, Resource},
    permission::{Permission, Permit},
};

/// How an operation is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Creates or acts.
    Post,
    /// Replaces a set.
    Put,
    /// Edits.
    Patch,
    /// Deletes.
    Delete,
}

impl Method {
    /// As HTTP has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether the request travels in the body; else in the query.
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch)
    }
}

/// Who may call an operation, as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Whoever is signed in.
    SignedIn,
    /// Whoever holds the permission.
    Needs(Permission),
}

/// Who may call an operation, as a type.
pub trait Admits: Send + Sync + 'static {
    /// The same as a value.
    const ACCESS: Access;
}

/// Everybody may.
#[derive(Debug)]
pub struct Public;
/// Whoever is signed in may.
#[derive(Debug)]
pub struct SignedIn;
/// Whoever holds the permission may.
#[derive(Debug)]
pub struct Needs<P>(std::marker::PhantomData<P>);

impl Admits for Public {
    const ACCESS: Access = Access::Public;
}
impl Admits for SignedIn {
    const ACCESS: Access = Access::SignedIn;
}
impl<P: Permit> Admits for Needs<P> {
    const ACCESS: Access = Access::Needs(P::PERMISSION);
}

/// One thing that the daemon can be asked: everything both ends must agree on, said once.
pub trait Operation: Serialize + Decode + Send + Sync + 'static {
    /// Its name, as in the OpenAPI document.
    const NAME: &'static str;
    /// How it is sent.
    const METHOD: Method;
    /// Where to, with `{members}` of the request in it.
    const PATH: &'static str;
    /// Who may call it.
    type Access: Admits;
    /// What comes back.
    type Answer: Answer;
    /// The errors beyond those that every operation may answer.
    const ERRORS: &'static [ErrorCode];

    /// The most bytes its body may have.
    const BODY_LIMIT: usize = 1 << 20;

    /// Whether it is refused without an `Idempotency-Key`: where money moves.
    const KEYED: bool = false;

    /// Whether `?dryRun=true` can be asked of it: of every write but signing in and out.
    fn takes_dry_run() -> bool {
        Self::METHOD != Method::Get && !Self::PATH.starts_with("/v1/auth/")
    }
}

/// What travels beside the data of an answer.
#[derive(Debug, Default)]
pub struct Extras {
    /// Where the page lies.
    pub pagination: Option<Pagination>,
    /// What includes left out.
    pub included: BTreeMap<String, Included>,
    /// The path of what was created.
    pub location: Option<String>,
    /// The version part and the rest of the entity tag.
    pub etag: Option<String>,
    /// The exponents of the currencies in the data.
    pub currencies: Currencies,
}

/// What an operation answers with.
pub trait Answer: Sized + Send + 'static {
    /// The `data` of the envelope.
    type Data: Serialize + DeserializeOwned + JsonSchema + Send + Sync;
    /// The status of success.
    const STATUS: u16 = 200;
    /// Whether it is a page of a list.
    const PAGED: bool = false;
    /// Whether it goes on and on instead of ending with an envelope: `text/event-stream`.
    const STREAMED: bool = false;
    /// Whether it can also be written as a table.
    const TABLE: bool = false;

    /// The data alone.
    fn data(&self) -> Option<&Self::Data>;

    /// For the wire.
    fn into_parts(self) -> (Option<Self::Data>, Extras);

    /// The same as a table for spreadsheets, where there is one: for callers who accept `text/csv`.
    fn csv(&self) -> Option<String> {
        None
    }

    /// From the wire; nothing when the data should have been there and was not.
    fn from_parts(data: Option<Self::Data>, meta: Meta) -> Option<Self>;
}

/// A resource that can be created: where it is found afterwards.
pub trait Located {
    /// Its path.
    fn path(&self) -> String;

    /// Exponents of the currencies in it.
    fn currencies(&self) -> Currencies {
        Currencies::new()
    }
}

/// What a create answers with: 201 and a `Location`.
#[derive(Debug, Clone, PartialEq)]
pub struct Created<T>(pub T);

impl<T: Located + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static> Answer for Created<T> {
    type Data = T;
    const STATUS: u16 = 201;

    fn data(&self) -> Option<&T> {
        Some(&self.0)
    }
    fn into_parts(self) -> (Option<T>, Extras) {
        let (location, currencies) = (Some(self.0.path()), self.0.currencies());
        (Some(self.0), Extras { location, currencies, ..Extras::default() })
    }
    fn from_parts(data: Option<T>, _: Meta) -> Option<Self> {
        data.map(Self)
    }
}

/// Done, and there is nothing to say: `data: null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done;

impl Answer for Done {
    type Data = ();

    fn data(&self) -> Option<&()> {
        None
    }
    fn into_parts(self) -> (Option<()>, Extras) {
        (None, Extras::default())
    }
    fn from_parts(_: Option<()>, _: Meta) -> Option<Self> {
        Some(Self)
    }
}

/// Rows as they come, as server-sent events; `T` is what one of them holds.
#[derive(Debug)]
pub struct Streamed<T>(std::marker::PhantomData<fn() -> T>);

impl<T: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static> Answer for Streamed<T> {
    type Data = T;
    const STREAMED: bool = true;

    fn data(&self) -> Option<&T> {
        None
    }
    fn into_parts(self) -> (Option<T>, Extras) {
        (None, Extras::default())
    }
    fn from_parts(_: Option<T>, _: Meta) -> Option<Self> {
        None
    }
}

impl<R: Resource> Answer for Page<R> {
    type Data = Vec<R>;
    const PAGED: bool = true;

    fn data(&self) -> Option<&Vec<R>> {
        Some(&self.rows)
    }
    fn into_parts(self) -> (Option<Vec<R>>, Extras) {
        let currencies = exponents(self.rows.iter().flat_map(Resource::currencies));
        let pagination = Some(self.pagination);
        let extras = Extras { pagination, included: self.included, currencies, ..Extras::default() };
        (Some(self.rows), extras)
    }
    fn from_parts(data: Option<Vec<R>>, meta: Meta) -> Option<Self> {
        Some(Self { rows: data?, pagination: meta.pagination?, included: meta.included })
    }
}

/// Answers that are only their data.
macro_rules! plain {
    ($($type:ty $(, etag $etag:expr)? $(, currencies $currencies:expr)? $(, csv $csv:expr)?;)+) => {$(
        impl $crate::operation::Answer for $type {
            type Data = Self;
            fn data(&self) -> Option<&Self> {
                Some(self)
            }
            fn into_parts(self) -> (Option<Self>, $crate::operation::Extras) {
                let extras = $crate::operation::Extras {
                    $(etag: { let etag: fn(&$type) -> String = $etag; Some(etag(&self)) },)?
                    $(currencies: { let of: fn(&$type) -> $crate::money::Currencies = $currencies; of(&self) },)?
                    ..Default::default()
                };
                (Some(self), extras)
            }
            $(const TABLE: bool = { let _: fn(&$type) -> String = $csv; true };
            fn csv(&self) -> Option<String> {
                let csv: fn(&$type) -> String = $csv;
                Some(csv(self))
            })?
            fn from_parts(data: Option<Self>, _: $crate::envelope::Meta) -> Option<Self> {
                data
            }
        }
    )+};
}
pub(crate) use plain;
