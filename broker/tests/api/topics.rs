//! Topics through the API.

use super::*;

async fn update(
    harness: &mut Harness,
    topic: v1::Topic,
    paths: &[&str],
) -> Result<v1::Topic, Status> {
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    let update_mask = (!paths.is_empty()).then_some(prost_types::FieldMask { paths });
    let request = v1::UpdateTopicRequest {
        topic: Some(topic),
        update_mask,
        ..Default::default()
    };
    Ok(harness
        .topics
        .update_topic(request)
        .await?
        .into_inner()
        .topic
        .unwrap())
}

fn named(name: &str) -> v1::Topic {
    v1::Topic {
        name: name.to_owned(),
        ..v1::Topic::default()
    }
}

#[tokio::test]
async fn a_topic_shows_its_own_settings_and_those_in_force() {
    let mut harness = Harness::start().await;
    let config = v1::TopicConfig {
        retention_ms: Some(3_600_000),
        ..Default::default()
    };
    let topic = harness.create_with("shop/orders", 3, config).await.unwrap();
    assert_eq!((topic.name.as_str(), topic.partitions), ("shop/orders", 3));
    assert_eq!(topic.config, Some(config));
    let effective = topic.effective_config.unwrap();
    assert_eq!(effective.retention_ms, Some(3_600_000));
    assert_eq!(effective.durability, Some(v1::Durability::Fsync.into()));
    assert!(topic.create_time_ms > 0 && topic.revision > 0 && !topic.topic_id.is_empty());
}

#[tokio::test]
async fn settings_change_by_mask_and_return_to_the_default() {
    let mut harness = Harness::start().await;
    let config = v1::TopicConfig {
        retention_ms: Some(1_000),
        segment_bytes: Some(1 << 20),
        ..v1::TopicConfig::default()
    };
    harness.create_with("t", 1, config).await.unwrap();
    let change = v1::Topic {
        config: Some(v1::TopicConfig {
            retention_ms: Some(-1),
            ..Default::default()
        }),
        ..named("t")
    };
    let topic = update(&mut harness, change, &[]).await.unwrap();
    let own = topic.config.unwrap();
    assert_eq!(
        (own.retention_ms, own.segment_bytes),
        (Some(-1), Some(1 << 20))
    );
    let topic = update(&mut harness, named("t"), &["config.segment_bytes"])
        .await
        .unwrap();
    let own = topic.config.unwrap();
    assert_eq!((own.retention_ms, own.segment_bytes), (Some(-1), None));
    let status = update(&mut harness, named("t"), &["config.nope"])
        .await
        .unwrap_err();
    assert!(status.message().contains("retention_bytes"), "{status:?}");
}

#[tokio::test]
async fn partitions_grow_and_never_shrink() {
    let mut harness = Harness::start().await;
    harness.create("t", 2).await;
    let grown = v1::Topic {
        partitions: 5,
        ..named("t")
    };
    assert_eq!(
        update(&mut harness, grown, &["partitions"])
            .await
            .unwrap()
            .partitions,
        5
    );
    assert_eq!(harness.produce("t", 4, &["a"]).await, 0);
    let shrunk = v1::Topic {
        partitions: 1,
        ..named("t")
    };
    let status = update(&mut harness, shrunk, &[]).await.unwrap_err();
    assert!(status.message().contains('5'), "{status:?}");
}

#[tokio::test]
async fn a_change_for_an_old_revision_is_refused() {
    let mut harness = Harness::start().await;
    let topic = harness.create("t", 1).await;
    let change = |retention_ms| v1::Topic {
        revision: topic.revision,
        config: Some(v1::TopicConfig {
            retention_ms: Some(retention_ms),
            ..Default::default()
        }),
        ..named("t")
    };
    update(&mut harness, change(5_000), &[]).await.unwrap();
    let status = update(&mut harness, change(6_000), &[]).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (tonic::Code::Aborted, "REVISION_MISMATCH")
    );
}

#[tokio::test]
async fn validate_only_checks_and_changes_nothing() {
    let mut harness = Harness::start().await;
    let request = CreateTopicRequest {
        topic: Some(v1::Topic {
            partitions: 1,
            ..named("t")
        }),
        validate_only: true,
    };
    harness.topics.create_topic(request).await.unwrap();
    let get = v1::GetTopicRequest {
        name: "t".to_owned(),
    };
    let status = harness.topics.get_topic(get).await.unwrap_err();
    assert_eq!(reason(&status), "TOPIC_NOT_FOUND");
}

#[tokio::test]
async fn topics_are_listed_by_namespace_page_by_page() {
    let mut harness = Harness::start().await;
    for name in ["a/1", "a/2", "a/3", "b/1"] {
        harness.create(name, 1).await;
    }
    let mut pages = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListTopicsRequest {
            namespace: "a".to_owned(),
            page_size: 2,
            page_token,
        };
        let page = harness
            .topics
            .list_topics(request)
            .await
            .unwrap()
            .into_inner();
        pages.push(
            page.topics
                .iter()
                .map(|topic| topic.name.clone())
                .collect::<Vec<_>>(),
        );
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, [vec!["a/1", "a/2"], vec!["a/3"]]);
}

#[tokio::test]
async fn a_deleted_topic_is_gone_and_one_of_its_name_starts_empty() {
    let mut harness = Harness::start().await;
    let first = harness.create("t", 2).await;
    harness.produce("t", 0, &["old"]).await;
    let wrong = v1::DeleteTopicRequest {
        name: "t".to_owned(),
        topic_id: "00000000-0000-4000-8000-000000000000".to_owned(),
    };
    assert_eq!(
        reason(&harness.topics.delete_topic(wrong).await.unwrap_err()),
        "TOPIC_NOT_FOUND"
    );
    let delete = v1::DeleteTopicRequest {
        name: "t".to_owned(),
        ..Default::default()
    };
    harness.topics.delete_topic(delete).await.unwrap();
    let status = harness.fetch("t", 0, earliest()).await.unwrap();
    assert_eq!(status.error.unwrap().reason, "TOPIC_NOT_FOUND");
    let second = harness.create("t", 1).await;
    assert_ne!(first.topic_id, second.topic_id);
    assert_eq!(harness.values("t", 0).await, Vec::<String>::new());
    let topics = harness.dir.path().join("topics");
    let gone = async {
        while topics.join(format!("{}.deleted", first.topic_id)).exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), gone)
        .await
        .unwrap();
    assert!(!topics.join(&first.topic_id).exists());
}

#[tokio::test]
async fn deleted_records_are_unreadable_and_stay_so() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    harness.produce("t", 0, &["a", "b", "c"]).await;
    let delete = |before_offset| v1::DeleteRecordsRequest {
        topic: "t".to_owned(),
        partitions: vec![v1::DeleteRecordsPartition {
            partition: 0,
            before_offset,
        }],
    };
    let answer = harness
        .topics
        .delete_records(delete(2))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.partitions[0].log_start_offset, 2);
    let data = harness.fetch("t", 0, offset(0)).await.unwrap();
    assert_eq!(data.error.unwrap().reason, "OFFSET_OUT_OF_RANGE");
    let answer = harness
        .topics
        .delete_records(delete(9))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        answer.partitions[0].error.as_ref().unwrap().reason,
        "OFFSET_OUT_OF_RANGE"
    );
    let mut harness = harness.restart(&[]).await;
    assert_eq!(harness.values("t", 0).await, ["c"]);
}
