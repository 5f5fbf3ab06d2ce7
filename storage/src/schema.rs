//! Which record of `domain` lies under which table, and with which schema number. A changed shape gets the next number here and an
//! `upgrade` from the old one; the bytes of every earlier number stay readable.

mod older;

use crate::envelope::{DecodeError, Stored, exact};
use domain::{
    event::Event,
    host::Host,
    image::Image,
    operation::Operation,
    vm::Vm,
    webhook::{DeadLetter, Webhook},
};

pub const VMS: &str = "vms";
pub const IMAGES: &str = "images";
pub const HOSTS: &str = "hosts";
pub const OPERATIONS: &str = "operations";
pub const WEBHOOKS: &str = "webhooks";
/// By webhook and number; the events of each lie in [`WEBHOOK_DEAD_EVENTS`], by webhook, number and place, as the log had them.
pub const WEBHOOK_DEAD_LETTERS: &str = "webhook-dead-letters";
pub const WEBHOOK_DEAD_EVENTS: &str = "webhook-dead-events";

impl Stored for Vm {
    const SCHEMA: u16 = 5;
    const NAME: &'static str = "vm";

    fn upgrade(schema: u16, payload: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => Ok(older::Vm3::from(exact::<older::Vm1>(Self::NAME, schema, payload)?).into()),
            2 => Ok(exact::<older::Vm2>(Self::NAME, schema, payload)?.into()),
            3 => Ok(exact::<older::Vm3>(Self::NAME, schema, payload)?.into()),
            4 => Ok(exact::<older::Vm4>(Self::NAME, schema, payload)?.into()),
            _ => Err(DecodeError::NoUpgrade { name: Self::NAME, found: schema, known: Self::SCHEMA }),
        }
    }
}

impl Stored for Image {
    const SCHEMA: u16 = 1;
    const NAME: &'static str = "image";
}

impl Stored for Host {
    const SCHEMA: u16 = 2;
    const NAME: &'static str = "host";

    fn upgrade(schema: u16, payload: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => Ok(exact::<older::Host1>(Self::NAME, schema, payload)?.into()),
            _ => Err(DecodeError::NoUpgrade { name: Self::NAME, found: schema, known: Self::SCHEMA }),
        }
    }
}

impl Stored for Operation {
    const SCHEMA: u16 = 2;
    const NAME: &'static str = "operation";

    fn upgrade(schema: u16, payload: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => Ok(exact::<older::Operation1>(Self::NAME, schema, payload)?.into()),
            _ => Err(DecodeError::NoUpgrade { name: Self::NAME, found: schema, known: Self::SCHEMA }),
        }
    }
}

impl Stored for Webhook {
    const SCHEMA: u16 = 2;
    const NAME: &'static str = "webhook";

    fn upgrade(schema: u16, payload: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => Ok(exact::<older::Webhook1>(Self::NAME, schema, payload)?.into()),
            _ => Err(DecodeError::NoUpgrade { name: Self::NAME, found: schema, known: Self::SCHEMA }),
        }
    }
}

impl Stored for DeadLetter {
    const SCHEMA: u16 = 1;
    const NAME: &'static str = "webhook-dead-letter";
}

impl Stored for Event {
    const SCHEMA: u16 = 1;
    const NAME: &'static str = "event";
}
