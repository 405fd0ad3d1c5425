//! Many changes to people in one request: all or nothing, or each by itself.

use bursar_shared::{
    decode::{Decode, Decoder},
    error::{ApiError, Class, ErrorCode},
    field::BulkMode,
    id::UserId,
    operations::users::{
        ActivateUser, BulkItem, BulkOp, BulkOutcome, BulkResult, BulkUsers, CreateUser, SuspendUser,
        UpdateUser, User,
    },
    permission::Permission,
};
use serde_json::{Map, Value, json};

use super::users::{self, Ready};
use crate::{
    cx::{Caller, Cx},
    db::{Label, Outcome, Tx, urgent},
    error::{Error, Refusal, Result},
    log::Draft,
};

/// Passwords that one request may bring: each is hashed, and that takes a twentieth of a second.
const PASSWORDS: usize = 100;

/// An item that was read and is allowed.
#[derive(Clone)]
enum Step {
    Create(Box<Ready>),
    Update(UpdateUser),
    Suspend(SuspendUser),
    Activate(ActivateUser),
    Delete(UserId),
}

impl Step {
    fn run(&self, tx: &mut Tx<'_>, caller: &Caller, if_match: Option<i64>) -> Result<(u16, Option<User>)> {
        match self {
            Self::Create(ready) => users::insert(tx, caller, ready).map(|user| (201, Some(user))),
            Self::Update(op) => users::patch(tx, caller, op, if_match).map(|user| (200, Some(user))),
            Self::Suspend(op) => users::suspend_in(tx, caller, op, if_match).map(|user| (200, Some(user))),
            Self::Activate(op) => users::activate_in(tx, caller, op, if_match).map(|user| (200, Some(user))),
            Self::Delete(id) => users::delete_in(tx, caller, *id, if_match).map(|()| (200, None)),
        }
    }
}

/// Runs a bulk request.
pub async fn run(cx: Cx, op: BulkUsers) -> Result<BulkResult> {
    let passwords = op.items.iter().filter(|item| brings_password(item)).count();
    if passwords > PASSWORDS {
        let why = format!("must have at most {PASSWORDS} items with a password; send passwordHash instead");
        return Err(ApiError::violation("/items", "length", why).into());
    }
    // what takes long is done before the transaction, what was misread is known before it
    let mut steps = Vec::with_capacity(op.items.len());
    for (index, item) in op.items.into_iter().enumerate() {
        let step = match read(&cx, &item).await {
            Ok(step) => Ok(step),
            // to come again is no verdict on an item
            Err(Error::Refused(refusal)) if !is_passing(&refusal.error) => {
                Err(refusal.error.inside(&format!("/items/{index}")))
            }
            Err(why) => return Err(why),
        };
        steps.push((item.if_match, step));
    }
    let (caller, atomic) = (cx.who.clone(), op.mode == BulkMode::Atomic);
    // on a full disk many are suspended as one is
    let suspends = steps.iter().all(|(_, step)| matches!(step, Ok(Step::Suspend(_)) | Err(_)));
    let label = if suspends { urgent("user.bulk") } else { Label::from("user.bulk") };
    cx.write(label, move |tx| {
        let mut items = Vec::with_capacity(steps.len());
        for (index, (if_match, step)) in (0u32..).zip(&steps) {
            let ran = match step {
                Ok(step) => tx.apart(|tx| step.run(tx, &caller, *if_match)),
                Err(misread) => Err(misread.clone().into()),
            };
            match ran {
                Ok((status, data)) => items.push(BulkOutcome { index, status, data, error: None }),
                Err(Error::Refused(refusal)) if atomic => return Err(aborted(index, *refusal, steps.len())),
                Err(Error::Refused(refusal)) => {
                    let error = refusal.error;
                    if error.code.status() == 403 {
                        let facts = json!({
                            "operation": "BulkUsers", "item": index, "code": error.code, "details": error.details,
                        });
                        tx.log(Draft::about("access.denied", "access").data(&facts));
                    }
                    items.push(BulkOutcome { index, status: error.code.status(), data: None, error: Some(error) });
                }
                Err(why) => return Err(why),
            }
        }
        Ok(Outcome::Done(BulkResult { items }))
    })
    .await
}

fn is_passing(error: &ApiError) -> bool {
    matches!(error.code.class(), Class::Unavailable | Class::Throttled | Class::Internal)
}

fn brings_password(item: &BulkItem) -> bool {
    item.data.as_ref().and_then(|data| data.get("password")).is_some_and(|password| !password.is_null())
}

/// The first bad item gives status and code; the others say that they were not done.
pub(super) fn aborted(index: u32, refusal: Refusal, count: usize) -> Error {
    let items: Vec<Value> = (0u32..)
        .take(count)
        .map(|other| match other == index {
            true => {
                json!({ "index": other, "status": refusal.error.code.status(), "code": refusal.error.code })
            }
            false => json!({ "index": other, "status": 409, "code": ErrorCode::BatchAborted }),
        })
        .collect();
    let mut error = refusal.error;
    error.message = format!("Item {index}: {}. Nothing was changed.", error.message.trim_end_matches('.'));
    let mut details = match error.details.take() {
        Value::Object(details) => details,
        _ => Map::new(),
    };
    details.insert("index".to_owned(), json!(index));
    details.insert("items".to_owned(), json!(items));
    error.details = Value::Object(details);
    Error::Refused(Box::new(Refusal { error, retry_after: None }))
}

/// Reads the body of an item as its operation does, with the permission that it needs.
async fn read(cx: &Cx, item: &BulkItem) -> Result<Step> {
    cx.who.needs(match item.op {
        BulkOp::Create | BulkOp::Update => Permission::UsersWrite,
        BulkOp::Suspend | BulkOp::Activate => Permission::UsersSuspend,
        BulkOp::Delete => Permission::UsersDelete,
    })?;
    let needs_id = || ApiError::violation("/id", "required", "is required");
    match item.op {
        BulkOp::Create => {
            if item.id.is_some() {
                return Err(ApiError::violation("/id", "read_only", "is made by the daemon").into());
            }
            let op: CreateUser = body(item)?;
            users::prepare(cx, op).await.map_err(in_data).map(Box::new).map(Step::Create)
        }
        BulkOp::Update => item.id.map(|_| body(item).map(Step::Update)).ok_or_else(needs_id)?,
        BulkOp::Suspend => item.id.map(|_| body(item).map(Step::Suspend)).ok_or_else(needs_id)?,
        BulkOp::Activate => item.id.map(|_| body(item).map(Step::Activate)).ok_or_else(needs_id)?,
        BulkOp::Delete => Ok(Step::Delete(item.id.ok_or_else(needs_id)?)),
    }
}

fn body<T: Decode>(item: &BulkItem) -> Result<T> {
    let mut members = match &item.data {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(members)) => members.clone(),
        Some(_) => return Err(ApiError::violation("/data", "type", "must be an object").into()),
    };
    let mut violations = Vec::new();
    if let Some(id) = item.id {
        let twice = members.insert("id".to_owned(), json!(id)).is_some();
        if twice {
            Decoder::new(&mut violations, false)
                .inside("id", |at| at.fail("unknown_field", "stands beside the data already"));
        }
    }
    let read = T::decode(&Value::Object(members), &mut Decoder::new(&mut violations, false));
    match read {
        Some(read) if violations.is_empty() => Ok(read),
        _ => Err(in_data(ApiError::invalid(violations).into())),
    }
}

/// What is wrong with the data of an item, seen from the item.
fn in_data(why: Error) -> Error {
    match why {
        Error::Refused(mut refusal) => {
            refusal.error = refusal.error.inside("/data");
            Error::Refused(refusal)
        }
        broken => broken,
    }
}
