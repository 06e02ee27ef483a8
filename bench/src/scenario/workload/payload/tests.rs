use super::*;

#[test]
fn a_token_is_a_chunk_of_100_to_300_bytes() {
    let mut chunks = Chunks::default();
    chunks.begin(7, 12, "a \"model\"\n");
    let mut out = Vec::new();
    for (part, pointer) in [
        (Part::Thinking, "/choices/0/delta/reasoning_content"),
        (Part::Text, "/choices/0/delta/content"),
        (Part::ToolUse, "/choices/0/delta/tool_calls/0/function/arguments"),
    ] {
        for (token, finish) in [(0, None), (1, Some("stop"))] {
            chunks.write(&mut out, part, token, finish);
            assert!((100..=300).contains(&out.len()), "{} bytes", out.len());
            let chunk: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(chunk["object"], "chat.completion.chunk");
            assert_eq!(chunk["model"], "a \"model\"\n");
            assert_eq!(chunk["choices"][0]["finish_reason"], Value::from(finish));
            let word = chunk.pointer(pointer).and_then(Value::as_str).unwrap();
            assert_eq!(word.starts_with(' '), token > 0, "{word:?}");
        }
    }
}

#[test]
fn an_answer_says_nothing_of_the_one_before() {
    let (mut chunks, mut fresh) = (Chunks::default(), Chunks::default());
    chunks.begin(1, 1, "a model with a long name");
    chunks.begin(2, 3, "b");
    fresh.begin(2, 3, "b");
    let (mut one, mut other) = (Vec::new(), Vec::new());
    chunks.write(&mut one, Part::ToolUse, 0, None);
    fresh.write(&mut other, Part::ToolUse, 0, None);
    assert_eq!(one, other);
}

#[test]
fn a_result_names_its_call() {
    let (mut call, mut result) = (Vec::new(), Vec::new());
    tool_call(&mut call, 5, 6);
    tool_result(&mut result, 5, 6);
    let parsed = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).unwrap() };
    assert_eq!(parsed(&call)["id"], parsed(&result)["id"]);
    assert_eq!(parsed(&call)["name"], parsed(&result)["name"]);
}
