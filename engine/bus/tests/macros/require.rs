use tapeline::{require, require_axis, require_axis_value};

fn main() {
    let line = "software.model";
    require!(line);
    require!("");
    require!("software");
    require!("software.model=");
    require!("software.model == ");
    require!("software.model == \"llama");
    require!("software..model");
    require!("software.model,hardware.gpu");
    require!("software.model=a\nb");
    require!("hardware.cores >= 1e400");
    require!("hardware.cpu > 8");
    require!("hardware.cpu != 8");
    require!("hardware.cpu >= eight");
    require!("hardwre.gpu");
    require!("software.");
    require!("software.model = x");
    require!("scope:tenant");
    require_axis!("softwar");
    require_axis_value!("softwar", "model");
    require_axis_value!("software", "");
    require_axis_value!("software", "mo=del");
    require_axis_value!("software");
}
