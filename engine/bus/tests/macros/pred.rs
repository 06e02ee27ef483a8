use tapeline::pred;

fn main() {
    pred!();
    pred!(exist "software.model");
    pred!(exists "hardwre.gpu");
    pred!(exists "hardware.");
    pred!(exists "software.mo=del");
    pred!(exists "software..model");
    pred!(exists "gpu");
    pred!(exists software.model);
    pred!(equals "software.model");
    pred!(equals "software.model", 7);
    pred!(num_at_least "hardware.cores", "8");
    pred!(num_at_least "hardware.cores", 1e400);
    pred!(num_in_range "hardware.cores", 8, -2);
    pred!(semver_at_least "software.vllm", "v1");
    pred!(and [exists "software.model" metadata_exists "zone"]);
    pred!(and [exists "software.model", or [exists "softwar.model"]]);
    pred!(metadata_exists "zone" "zone");
    pred!(metadata_exists "");
    pred!(metadata_exists 7);
    pred!(not metadata_equals "", "eu");
}
