use super::*;

#[test]
fn parts_of_an_answer_come_in_order_with_equal_shares() {
    let parts = |answer: Answer, tokens: u32| -> Vec<Part> { (0..tokens).map(|at| answer.part(at, tokens)).collect() };
    let all = Answer { has_thinking: true, has_text: true, has_tool_use: true };
    assert_eq!(parts(all, 6), [Part::Thinking, Part::Thinking, Part::Text, Part::Text, Part::ToolUse, Part::ToolUse]);
    assert_eq!(parts(Answer { has_thinking: false, ..all }, 3), [Part::Text, Part::Text, Part::ToolUse]);
    assert_eq!(parts(Answer::default(), 2), [Part::Text, Part::Text]);
}

#[test]
fn times_that_cannot_be_are_none() {
    assert_eq!(seconds(1.5), Some(Duration::from_millis(1500)));
    for wrong in [-0.1, f64::NAN, f64::INFINITY, 1e300] {
        assert_eq!(seconds(wrong), None);
    }
}

#[test]
fn long_prompts_take_longer() {
    assert_eq!((prefill(0), prefill(1), prefill(513)), (Duration::ZERO, STEP, STEP * 2));
}
