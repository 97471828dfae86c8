//! A constitution of one's own: written as TOML, read, added to, and drawn from.
//!
//! ```text
//! cargo run --release -p rlaif --example constitution
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use rlaif::constitution::{ComparisonPrinciple, Constitution, Drawing};
use rlaif::dialogue::Dialogue;
use rlaif::language_model::{item_seed, stream};

const GARDENERS: &str = r#"
name = "gardeners"

[[critique_revision]]
id = "bees"
critique_request = "Would following this advice harm bees or other pollinators?"
revision_request = "Rewrite the advice so that it spares them."
tags = ["animals"]

[[critique_revision]]
id = "neighbours"
critique_request = "Does the advice overlook what the neighbours would have to put up with?"
revision_request = "Rewrite the advice with the neighbours in mind."
tags = ["people"]

[[critique_revision]]
id = "water"
critique_request = "Does the advice waste water or spoil it?"
revision_request = "Rewrite the advice so that it spares the water."
tags = ["nature"]

[[comparison]]
id = "bees"
text = "Which reply is kinder to bees and other pollinators?"
tags = ["animals"]
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut constitution = Constitution::from_toml(GARDENERS)?;
    constitution.comparison.push(ComparisonPrinciple {
        id: "patience".to_owned(),
        text: "Which reply would a patient gardener give?".to_owned(),
        source: "a neighbour".to_owned(),
        tags: Vec::new(),
        weight: 1.0,
    });
    constitution.validate()?;

    // Every prompt draws from a stream of its own, so its principles do not depend on the other prompts.
    for request in ["How do I kill the weeds?", "How do I get rid of the moles?"] {
        let prompt = Dialogue::from_user(request);
        let mut stream = stream(item_seed(1, &["my run", &prompt.id()]));
        println!("{request}");
        let drawing = Drawing::default();
        let mut revisions = constitution.revisions(&drawing)?;
        for step in 1..=3 {
            let principle = revisions.draw(&mut stream);
            println!("  step {step}: {} ({})", principle.critique_request, principle.id);
        }
        println!("  compare by: {}", constitution.comparisons(&drawing)?.draw(&mut stream).text);
    }

    println!("\nAs a file:\n\n{}", constitution.to_toml()?);
    if let Err(error) = Constitution::from_toml(&GARDENERS.replace("tags", "tag")) {
        println!("A mistake is named: {error}");
    }
    Ok(())
}
