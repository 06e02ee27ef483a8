//! The colours of both themes, and the classes of pictures.
//!
//! Lines: eight hues that differ in lightness as well, for readers who distinguish few hues. Heat: one hue; few events
//! lie near the paper, many far from it.

/// Lines that colour distinguishes.
pub(super) const LINES: usize = 8;
/// Steps of heat.
pub(super) const HEATS: usize = 9;

/// The style sheet.
pub(crate) const STYLE: &str = "\
:root{color-scheme:light dark;--paper:#fff;--ink:#1b2330;--soft:#586474;--rule:#e4e8ed;\
--l0:#1f5fbf;--l1:#d1600a;--l2:#0a8f6c;--l3:#b0307f;--l4:#7a5fd0;--l5:#8a6a00;--l6:#1593b5;--l7:#6b7480;\
--h0:#dcebfb;--h1:#bfdbf7;--h2:#9cc7f1;--h3:#74afe8;--h4:#4c94dc;--h5:#2e78c8;--h6:#1c5dab;--h7:#134488;--h8:#0b2d61}\
@media(prefers-color-scheme:dark){:root{--paper:#12161c;--ink:#e6eaf0;--soft:#9aa6b5;--rule:#29313c;\
--l0:#6ea8ff;--l1:#ff9d57;--l2:#45d3a6;--l3:#f283c6;--l4:#b5a1ff;--l5:#e0c04a;--l6:#5fd0ec;--l7:#b3bcc8;\
--h0:#17293f;--h1:#1b3a5c;--h2:#1f4c7b;--h3:#25609b;--h4:#3277ba;--h5:#4b91d4;--h6:#72ade6;--h7:#a2caf3;--h8:#dcecfc}}\
.pic{font:12px system-ui,sans-serif;display:block;width:100%;height:auto}\
.pic .paper{fill:var(--paper)}.pic text{fill:var(--soft)}.pic .name{fill:var(--ink);font-weight:600}\
.pic .key{fill:var(--ink)}.pic .rule{stroke:var(--rule);stroke-width:1;fill:none}\
.pic .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}\
.pic .l0{stroke:var(--l0)}.pic .l1{stroke:var(--l1)}.pic .l2{stroke:var(--l2)}.pic .l3{stroke:var(--l3)}\
.pic .l4{stroke:var(--l4)}.pic .l5{stroke:var(--l5)}.pic .l6{stroke:var(--l6)}.pic .l7{stroke:var(--l7)}\
.pic .h0{fill:var(--h0)}.pic .h1{fill:var(--h1)}.pic .h2{fill:var(--h2)}.pic .h3{fill:var(--h3)}.pic .h4{fill:var(--h4)}\
.pic .h5{fill:var(--h5)}.pic .h6{fill:var(--h6)}.pic .h7{fill:var(--h7)}.pic .h8{fill:var(--h8)}";
