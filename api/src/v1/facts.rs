//! Named facts, each true or false: an object in JSON. A list and not a map: the order of the server stays, clients show facts that are newer
//! than they are, and the console needs no code of a tree for it.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use std::fmt;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts(pub Vec<(String, bool)>);

impl Facts {
    pub fn of(named: &[(&str, bool)]) -> Self {
        Self(named.iter().map(|(name, is)| ((*name).to_owned(), *is)).collect())
    }

    /// The names of those that are so, or of those that are not, for people; empty where there is none.
    pub fn words(&self, so: bool) -> String {
        let words: Vec<String> = self.0.iter().filter(|(_, is)| *is == so).map(|(name, _)| name.replace('_', " ")).collect();
        words.join(", ")
    }
}

impl Serialize for Facts {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, is)| (name, is)))
    }
}

impl<'de> Deserialize<'de> for Facts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Named;
        impl<'de> Visitor<'de> for Named {
            type Value = Facts;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("an object of true and false")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Facts, A::Error> {
                let mut facts = Vec::new();
                while let Some(fact) = map.next_entry()? {
                    facts.push(fact);
                }
                Ok(Facts(facts))
            }
        }
        from.deserialize_map(Named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_an_object_in_the_order_of_the_server() {
        let facts = Facts::of(&[("pause", true), ("console_input", false), ("balloon", true)]);
        let json = r#"{"pause":true,"console_input":false,"balloon":true}"#;
        assert_eq!(serde_json::to_string(&facts).unwrap(), json);
        assert_eq!(serde_json::from_str::<Facts>(json).unwrap(), facts);
        assert_eq!((facts.words(true).as_str(), facts.words(false).as_str()), ("pause, balloon", "console input"));
        assert!(serde_json::from_str::<Facts>(r#"{"pause":1}"#).is_err());
    }
}
