//! What a request gives a guest to configure itself by: from the API's words to the domain's, and the password that is made on the way.

use crate::{
    http::{
        command::unprocessable,
        problem::{Answer, Refusal},
    },
    password::Password,
};
use api::v1;
use domain::vm::{CloudInit, PasswordChange};

/// Beside the user's own metadata.
const HEARTHS_OWN: &str = "hearth";
const PASSWORD: &str = "spec.cloud_init.password";

/// A new password where one is asked for.
pub fn new_password(given: Option<&v1::CloudInit>) -> Answer<Option<Password>> {
    let asked = given.is_some_and(|given| given.password == Some(v1::Password::Generate));
    let made = asked.then(Password::new).transpose();
    made.map_err(|error| Refusal::internal(format!("no password was made: {error}")))
}

/// For a VM that is made: there is nothing yet that could stay.
pub fn first(given: v1::CloudInit, made: Option<&Password>) -> Answer<Box<CloudInit>> {
    if given.password == Some(v1::Password::Set) {
        return Err(unprocessable("no-password", PASSWORD, "no password was made yet").hint("ask for one with \"generate\""));
    }
    Ok(cloud_init(given, made))
}

pub fn changed(given: v1::CloudInit, made: Option<&Password>) -> (Box<CloudInit>, PasswordChange) {
    let kept = given.password == Some(v1::Password::Set);
    (cloud_init(given, made), if kept { PasswordChange::Kept } else { PasswordChange::Replaced })
}

fn cloud_init(given: v1::CloudInit, made: Option<&Password>) -> Box<CloudInit> {
    Box::new(CloudInit {
        user_data: given.user_data.map(String::into_boxed_str),
        ssh_keys: given.ssh_keys,
        password_hash: made.map(|made| made.hash.clone()),
    })
}

pub fn metadata(given: v1::Metadata) -> Answer<Box<str>> {
    if given.contains_key(HEARTHS_OWN) {
        let detail = format!("the key \"{HEARTHS_OWN}\" is for what hearth says of the VM: take another");
        return Err(unprocessable("invalid-spec", "spec.metadata", &detail));
    }
    Ok(serde_json::Value::Object(given).to_string().into_boxed_str())
}
