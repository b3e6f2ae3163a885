//! Prints a topic from its oldest record on, and goes on with what comes.
//!
//! ```text
//! cargo run -p headwater-client --example consume -- my-topic
//! ```

use headwater_client::{Client, ClientConfig, OnOutOfRange, Position};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example talks to a person")]
async fn main() -> anyhow::Result<()> {
    let topic = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "greetings".to_owned());
    let client = Client::connect(ClientConfig::from_env()).await?;
    let mut consumer = client
        .consumer()
        .topic(topic, Position::Earliest)
        .on_out_of_range(OnOutOfRange::Earliest)
        .build()
        .await?;

    while let Some(batch) = consumer.next_batch().await? {
        for record in &batch.records {
            let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default());
            println!("{}/{}: {value}", record.partition, record.offset);
        }
    }
    Ok(())
}
