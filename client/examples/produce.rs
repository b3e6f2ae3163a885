//! Sends ten records and prints where they went.
//!
//! ```text
//! cargo run -p headwater-client --example produce -- my-topic
//! ```

use headwater_client::{Client, ClientConfig, Compression, ProducerConfig, ProducerRecord};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example talks to a person")]
async fn main() -> anyhow::Result<()> {
    let topic = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "greetings".to_owned());
    let client = Client::connect(ClientConfig::from_env()).await?;
    let producer = client.producer(ProducerConfig::new().compression(Compression::Zstd))?;

    let mut deliveries = Vec::new();
    for number in 0..10 {
        let record = ProducerRecord::new(topic.as_str(), format!("greeting number {number}"))
            .key(format!("key-{}", number % 3))
            .header("language", "en");
        // Waits only while too much is unacknowledged.
        deliveries.push(producer.send(record).await?);
    }
    for delivery in deliveries {
        let metadata = delivery.await?;
        println!(
            "{}/{} at {:?}",
            metadata.topic, metadata.partition, metadata.offset
        );
    }
    producer.close().await?;
    Ok(())
}
