//! Network interfaces of a VM: as they are asked for, and as they are.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// In short, where no MAC is chosen, the network's name alone: `"default"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// So far only `default`.
    pub network: String,
    /// Absent: made from the address.
    pub mac: Option<String>,
}

/// One interface in the guest's order, and what was given to it for its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InterfaceStatus {
    pub network: String,
    pub address: String,
    pub mac: String,
}

/// One network interface.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = InterfaceWithMac))]
pub(super) struct Long {
    /// So far only `default`.
    network: String,
    /// Of one station (the first byte is even), and of no other interface on this host. Shown in lower case. Absent: made from the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(pattern = "^[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$"))]
    mac: Option<String>,
}

// For the document alone.
/// A network's name, or an object with a MAC beside it.
#[cfg(feature = "schema")]
#[derive(utoipa::ToSchema)]
#[schema(as = Interface)]
#[serde(untagged)]
#[allow(dead_code, reason = "only its schema is used")]
pub(super) enum Words {
    Long(Long),
    Short(String),
}

impl From<&str> for Interface {
    fn from(network: &str) -> Interface {
        Interface { network: network.to_owned(), mac: None }
    }
}

/// As the command line has it: `default`, or `default,mac=02:00:00:00:00:01`.
impl fmt::Display for Interface {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mac {
            None => out.write_str(&self.network),
            Some(mac) => write!(out, "{},mac={mac}", self.network),
        }
    }
}

impl Interface {
    /// As [`fmt::Display`] writes it. Whether the MAC is one is for the server to say.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn parse(text: &str) -> Result<Interface, String> {
        let (network, rest) = text.split_once(',').map_or((text, None), |(network, rest)| (network, Some(rest)));
        let mac = match rest {
            None => None,
            Some(rest) => match rest.strip_prefix("mac=").filter(|mac| !mac.is_empty() && !mac.contains(',')) {
                Some(mac) => Some(mac.to_owned()),
                None => return Err("give it as NETWORK or NETWORK,mac=02:00:00:00:00:01".to_owned()),
            },
        };
        if network.is_empty() {
            Err("a network has a name".to_owned())
        } else {
            Ok(Interface { network: network.to_owned(), mac })
        }
    }
}

/// The networks in one line, for people; nothing where there are none. MACs of choice are told as long as no interface is given, which tells its own.
pub fn words(asked: &[Interface], given: &[InterfaceStatus]) -> Option<String> {
    let word = |interface: &Interface| if given.is_empty() { interface.to_string() } else { interface.network.clone() };
    (!asked.is_empty()).then(|| asked.iter().map(word).collect::<Vec<_>>().join(" "))
}

impl Serialize for Interface {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.mac {
            None => serializer.serialize_str(&self.network),
            mac => Long { network: self.network.clone(), mac: mac.clone() }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Interface {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Interface, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Interface;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a network's name, or an object with network and mac")
            }

            fn visit_str<E: de::Error>(self, network: &str) -> Result<Interface, E> {
                Ok(network.into())
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Interface, A::Error> {
                let Long { network, mac } = Long::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Interface { network, mac })
            }
        }
        // Not by an untagged enum, whose errors name neither the field nor what is wrong with it.
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: &str = "02:00:00:00:00:01";

    fn chosen() -> Interface {
        Interface { mac: Some(MAC.into()), .."default".into() }
    }

    #[test]
    fn a_name_stays_a_name_and_a_mac_makes_it_an_object() {
        let both = r#"["default",{"network":"default","mac":"02:00:00:00:00:01"}]"#;
        let read: Vec<Interface> = serde_json::from_str(both).unwrap();
        assert_eq!(read, ["default".into(), chosen()]);
        assert_eq!(serde_json::to_string(&read).unwrap(), both);
        let long: Interface = serde_json::from_str(r#"{"network":"default"}"#).unwrap();
        assert_eq!(serde_json::to_string(&long).unwrap(), r#""default""#);
    }

    #[test]
    fn what_is_neither_is_refused_in_words() {
        for (text, word) in [
            (r#"{"network":"default","colour":1}"#, "unknown field `colour`"),
            (r#"{"mac":"02:00:00:00:00:01"}"#, "missing field `network`"),
            ("7", "a network's name"),
            ("null", "a network's name"),
            (r#"{"network":7}"#, "expected a string"),
        ] {
            let error = serde_json::from_str::<Interface>(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn the_command_lines_words_are_read_as_they_are_written() {
        for interface in ["default".into(), chosen()] {
            assert_eq!(Interface::parse(&interface.to_string()), Ok(interface));
        }
        for wrong in ["", ",mac=02:00:00:00:00:01", "default,", "default,mac=", "default,mtu=9", "default,mac=a,mac=b"] {
            assert!(Interface::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mac_of_choice_is_told_where_no_interface_tells_it() {
        let asked = ["default".into(), chosen()];
        assert_eq!(words(&asked, &[]).unwrap(), "default default,mac=02:00:00:00:00:01");
        let given = InterfaceStatus { network: "default".into(), address: "10.77.0.2".into(), mac: MAC.into() };
        assert_eq!(words(&asked[1..], &[given]).unwrap(), "default");
        assert_eq!(words(&[], &[]), None);
    }
}
