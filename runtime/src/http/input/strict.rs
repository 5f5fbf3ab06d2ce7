//! JSON as the API's document describes it, and nothing that serde takes besides: an array is no object (serde reads a struct from its fields
//! in their order), an object is no word of an enum, and a key stands once in its object (serde takes the last one of a map). Holds at every
//! depth, because everything that is read inside is wrapped as well. Owns no type and no meaning.
//!
//! It does not see into what serde keeps aside before it decides (`flatten`, `untagged`, inner tags); the test that walks over all request
//! types of the document fails for such a type.

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor},
};
use std::{collections::HashSet, fmt};

/// What refuses an array has these words; the field is told by its path.
pub const NOT_AN_ARRAY: &str = "must be an object, not an array";
const NOT_AN_OBJECT: &str = "must be a string, not an object";

/// Wraps a deserializer, a sequence or a seed: all that is read through it is read strictly.
pub struct Strict<X>(pub X);

macro_rules! wrapped {
    ($($method:ident($($argument:ident: $kind:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $kind,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($argument,)* Inside(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    wrapped! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128() deserialize_f32() deserialize_f64()
        deserialize_char() deserialize_str() deserialize_string() deserialize_bytes() deserialize_byte_buf() deserialize_option()
        deserialize_unit() deserialize_unit_struct(name: &'static str) deserialize_newtype_struct(name: &'static str)
        deserialize_seq() deserialize_tuple(len: usize) deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_map() deserialize_identifier() deserialize_ignored_any()
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, Object(visitor))
    }

    /// Enums of requests are words; as an object serde would take `{"never": null}` too.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Word(visitor))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.0.next_element_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(deserializer))
    }
}

/// An object's members; remembers the keys that were.
struct Members<A> {
    map: A,
    seen: HashSet<String>,
}

impl<A> Members<A> {
    fn of(map: A) -> Self {
        Members { map, seen: HashSet::new() }
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(key) = self.map.next_key::<String>()? else { return Ok(None) };
        // First, so that whoever follows the path knows where it is.
        let read = seed.deserialize(key.clone().into_deserializer())?;
        if !self.seen.insert(key.clone()) {
            // As serde says it of a struct's field.
            return Err(A::Error::custom(format_args!("duplicate field `{key}`")));
        }
        Ok(Some(read))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.map.next_value_seed(Strict(seed))
    }
}

/// Passes on whatever comes, wrapped.
struct Inside<V>(V);

macro_rules! passed {
    ($($method:ident: $kind:ty)*) => {$(
        fn $method<E: Error>(self, value: $kind) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Inside<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    passed! {
        visit_bool: bool visit_i64: i64 visit_i128: i128 visit_u64: u64 visit_u128: u128 visit_f64: f64
        visit_str: &str visit_borrowed_str: &'de str visit_string: String
        visit_bytes: &[u8] visit_borrowed_bytes: &'de [u8] visit_byte_buf: Vec<u8>
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Strict(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Strict(sequence))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Members::of(map))
    }
}

/// A struct: an object and nothing else.
struct Object<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Object<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _sequence: A) -> Result<V::Value, A::Error> {
        Err(A::Error::custom(NOT_AN_ARRAY))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Members::of(map))
    }
}

/// An enum: one of its words.
struct Word<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Word<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<V::Value, E> {
        self.0.visit_enum(word.into_deserializer())
    }

    fn visit_map<A: MapAccess<'de>>(self, _map: A) -> Result<V::Value, A::Error> {
        Err(A::Error::custom(NOT_AN_OBJECT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        a: u8,
        b: Option<bool>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Word {
        One,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        one: Inner,
        #[serde(default)]
        maybe: Option<Inner>,
        #[serde(default)]
        many: Vec<Inner>,
        #[serde(default)]
        named: BTreeMap<String, Inner>,
        #[serde(default)]
        word: Option<Word>,
        #[serde(default)]
        free: serde_json::Value,
        #[serde(default)]
        pair: Option<(u8, f64)>,
    }

    fn strictly(text: &str) -> Result<Outer, String> {
        let mut reader = serde_json::Deserializer::from_str(text);
        serde_path_to_error::deserialize(Strict(&mut reader)).map_err(|error| format!("{}: {}", error.path(), error.inner()))
    }

    #[test]
    fn what_is_right_is_read_as_ever() {
        let text = r#"{"one":{"a":1,"b":null},"maybe":{"a":2},"many":[{"a":3,"b":true}],"named":{"x":{"a":4}},
            "word":"one","free":{"k":[1,{"z":-1.5}]},"pair":[7,0.5]}"#;
        assert_eq!(strictly(text).unwrap(), serde_json::from_str(text).unwrap());
    }

    #[test]
    fn an_array_is_no_object_wherever_it_stands() {
        for (text, path) in [
            ("[{\"a\":1}]", "."),
            (r#"{"one":[1,true]}"#, "one"),
            (r#"{"one":{"a":1},"maybe":[1,null]}"#, "maybe"),
            (r#"{"one":{"a":1},"many":[{"a":1},[2,null]]}"#, "many[1]"),
            (r#"{"one":{"a":1},"named":{"x":[1,null]}}"#, "named.x"),
        ] {
            let refused = strictly(text).unwrap_err();
            assert!(refused.starts_with(&format!("{path}: {NOT_AN_ARRAY}")), "{text}: {refused}");
        }
        assert!(strictly(r#"{"one":{"a":1},"named":[["x",[1]]]}"#).is_err());
        assert!(strictly(r#"{"one":{"a":1},"word":{"one":null}}"#).unwrap_err().starts_with(&format!("word: {NOT_AN_OBJECT}")));
        assert!(strictly(r#"{"one":{"a":1},"word":["one"]}"#).is_err());
    }

    #[test]
    fn a_key_stands_once_wherever_it_stands() {
        for (text, path) in [
            (r#"{"one":{"a":1},"one":{"a":1}}"#, "one: duplicate field `one`"),
            (r#"{"one":{"a":1,"a":1}}"#, "one.a: duplicate field `a`"),
            (r#"{"one":{"a":1},"named":{"x":{"a":1},"x":{"a":1}}}"#, "named.x: duplicate field `x`"),
            (r#"{"one":{"a":1},"free":{"q":[{"x":1,"\u0078":2}]}}"#, "free.q[0].x: duplicate field `x`"),
        ] {
            let refused = strictly(text).unwrap_err();
            assert!(refused.starts_with(path), "{text}: {refused}");
        }
    }
}
