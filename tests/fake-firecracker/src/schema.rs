//! Whether a value is what a schema of the API document says. Stricter than the document's letter, as Firecracker is: an object has no other
//! fields than those that are named, unless it says that it may.

use serde_json::{Map, Value};

/// # Errors
/// The first thing that is wrong, in words like those of Firecracker's own parser.
pub fn check(value: &Value, schema: &Value, definitions: &Value) -> Result<(), String> {
    let schema = resolve(schema, definitions)?;
    let kind = schema["type"].as_str().unwrap_or("object");
    let right = match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        other => return Err(format!("the document has a type {other}")),
    };
    if !right {
        return Err(format!("invalid type: {}, expected {kind}", shown(value)));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Err(format!("unknown variant `{}`, expected one of {allowed:?}", value.as_str().unwrap_or_default()));
    }
    range(value, schema)?;
    if let Some(items) = value.as_array() {
        return items.iter().try_for_each(|item| check(item, &schema["items"], definitions));
    }
    value.as_object().map_or(Ok(()), |object| fields(object, schema, definitions))
}

fn resolve<'a>(schema: &'a Value, definitions: &'a Value) -> Result<&'a Value, String> {
    let Some(reference) = schema["$ref"].as_str() else { return Ok(schema) };
    let name = reference.strip_prefix("#/definitions/").ok_or_else(|| format!("the document refers to {reference}"))?;
    definitions.get(name).ok_or_else(|| format!("the document has no {name}"))
}

fn range(value: &Value, schema: &Value) -> Result<(), String> {
    let Some(number) = value.as_i64() else { return Ok(()) };
    let below = schema["minimum"].as_i64().is_some_and(|least| number < least);
    let above = schema["maximum"].as_i64().is_some_and(|most| number > most);
    if below || above { Err(format!("invalid value: integer `{number}`")) } else { Ok(()) }
}

fn fields(object: &Map<String, Value>, schema: &Value, definitions: &Value) -> Result<(), String> {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = required.into_iter().find(|name| !object.contains_key(*name)) {
        return Err(format!("missing field `{missing}`"));
    }
    let open = schema["additionalProperties"] == true;
    for (name, value) in object {
        match schema["properties"].get(name) {
            Some(property) => check(value, property, definitions).map_err(|wrong| format!("{name}: {wrong}"))?,
            None if open => {}
            None => return Err(format!("unknown field `{name}`")),
        }
    }
    Ok(())
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(bool) => format!("boolean `{bool}`"),
        Value::Number(number) => format!("number `{number}`"),
        Value::String(text) => format!("string {text:?}"),
        Value::Array(_) => "sequence".into(),
        Value::Object(_) => "map".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_document_does_not_say_is_refused() {
        let definitions = json!({
            "Size": { "type": "object", "required": ["mib"], "properties": {
                "mib": { "type": "integer", "minimum": 1, "maximum": 8 }, "kind": { "type": "string", "enum": ["A", "B"] } } },
        });
        let wanted = json!({ "type": "object", "properties": {
            "size": { "$ref": "#/definitions/Size" }, "all": { "type": "array", "items": { "$ref": "#/definitions/Size" } } } });
        let check = |value: Value| check(&value, &wanted, &definitions);
        assert_eq!(check(json!({ "size": { "mib": 8, "kind": "A" }, "all": [{ "mib": 1 }] })), Ok(()));
        for (wrong, why) in [
            (json!([]), "expected object"),
            (json!({ "siez": {} }), "unknown field `siez`"),
            (json!({ "size": {} }), "missing field `mib`"),
            (json!({ "size": { "mib": 0 } }), "invalid value: integer `0`"),
            (json!({ "size": { "mib": 9 } }), "invalid value: integer `9`"),
            (json!({ "size": { "mib": 1.5 } }), "expected integer"),
            (json!({ "size": { "mib": "1" } }), "expected integer"),
            (json!({ "size": { "mib": 1, "kind": "C" } }), "unknown variant `C`"),
            (json!({ "size": null }), "invalid type: null"),
            (json!({ "all": [{ "mib": 1 }, {}] }), "missing field `mib`"),
        ] {
            let said = check(wrong.clone()).unwrap_err();
            assert!(said.contains(why), "{wrong}: {said}");
        }
    }
}
