// Every function does what its comment says, on a bus in memory and on one with a directory.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "check.h"

static void library(void) {
    CHECK(tapeline_abi_version() == TAPELINE_ABI_VERSION);
    CHECK(strcmp(tapeline_version(), "") != 0);
    CHECK(strcmp(tapeline_strerror(TAPELINE_OK), "done") == 0);
    CHECK(strcmp(tapeline_strerror(-12345), "not a code of this library") == 0);
    CHECK(strcmp(tapeline_last_error(), "") == 0);

    const char *tags[] = {"software.model=llama-7b", "hardware.gpu"};
    int32_t is_met = 7;
    OK(tapeline_requirement_met("software.model=llama-7b", tags, 2, &is_met));
    CHECK(is_met == 1);
    OK(tapeline_requirement_met("software.model=other", tags, 2, &is_met));
    CHECK(is_met == 0);
    is_met = 7;
    RETURNS(TAPELINE_FILTER, tapeline_requirement_met("", tags, 2, &is_met));
    CHECK(is_met == 7);

    const char *predicate = "and [equals \"software.model\", \"llama-7b\", metadata_equals \"zone\", \"eu\"]";
    const tapeline_pair zone = {"zone", "eu"};
    OK(tapeline_predicate_met(predicate, tags, 2, &zone, 1, &is_met));
    CHECK(is_met == 1);
    OK(tapeline_predicate_met(predicate, tags, 2, NULL, 0, &is_met));
    CHECK(is_met == 0);
    const char *document = "{\"nodes\": [{\"kind\": \"metadata_exists\", \"key\": \"zone\"}], \"root_idx\": 0}";
    OK(tapeline_predicate_met(document, NULL, 0, &zone, 1, &is_met));
    CHECK(is_met == 1);
    RETURNS(TAPELINE_FILTER, tapeline_predicate_met("equals", tags, 2, &zone, 1, &is_met));
    RETURNS(TAPELINE_FILTER, tapeline_predicate_met("{}", tags, 2, &zone, 1, &is_met));
    RETURNS(TAPELINE_NULL, tapeline_predicate_met(NULL, tags, 2, &zone, 1, &is_met));
}

static void settings(const char *directory) {
    tapeline_bus bus = {0};
    RETURNS(TAPELINE_CONFIG, tapeline_open("{\"lane_bites\": 5}", &bus));
    CHECK(strstr(tapeline_last_error(), "lane_bites") != NULL);
    RETURNS(TAPELINE_CONFIG, tapeline_open("{\"num_shards\": 0}", &bus));
    RETURNS(TAPELINE_CONFIG, tapeline_open("{", &bus));
    CHECK(bus.number == 0);

    OK(tapeline_open("{\"backpressure_mode\": {\"sample\": {\"rate\": 10}}, \"placement\": {\"pinned\": false}}", &bus));
    OK(tapeline_close(bus, -1));
    OK(tapeline_open("{\"backpressure_mode\": {\"block\": {\"deadline_ms\": 10}}}", &bus));
    OK(tapeline_close(bus, -1));

    const tapeline_pair pairs[] = {{"directory", directory},       {"num_shards", "2"},
                                   {"backpressure_mode", "drop_oldest"}, {"retention.max_bytes", "1000000000"},
                                   {"placement.pinned", "false"},  {"durability", "page_cache"},
                                   {"placement.driver", driver()}};
    OK(tapeline_open_pairs(pairs, sizeof pairs / sizeof *pairs, &bus));
    uint16_t shards = 0;
    OK(tapeline_num_shards(bus, &shards));
    CHECK(shards == 2);
    tapeline_bus second = {0};
    RETURNS(TAPELINE_LOCKED, tapeline_open_pairs(pairs, sizeof pairs / sizeof *pairs, &second));
    OK(tapeline_close(bus, -1));
    const tapeline_pair twice[] = {{"num_shards", "2"}, {"num_shards", "3"}};
    RETURNS(TAPELINE_CONFIG, tapeline_open_pairs(twice, 2, &bus));
}

static void ingest_and_poll(void) {
    tapeline_bus bus = open_memory();
    tapeline_session chat = named("chat-42");
    tapeline_ticket ticket;
    OK(tapeline_ingest(bus, chat, TAPELINE_KIND_TOKEN, (const uint8_t *)"Hel", 3, NULL));
    OK(tapeline_ingest_json(bus, chat, TAPELINE_KIND_TOOL_CALL, "{\"tool\": \"x\"}", 13, &ticket));
    RETURNS(TAPELINE_JSON, tapeline_ingest_json(bus, chat, TAPELINE_KIND_TOOL_CALL, "{\"tool", 6, &ticket));
    OK(tapeline_wait_readable(bus, &ticket, 10000));
    OK(tapeline_wait_durable(bus, &ticket, 10000));
    int32_t is_durable = 0;
    OK(tapeline_is_durable(bus, &ticket, &is_durable));
    CHECK(is_durable == 1);

    const tapeline_input inputs[] = {
        {.session = named("a"), .payload = (const uint8_t *)"1", .payload_len = 1, .kind = 1},
        {.session = named("b"), .payload = NULL, .payload_len = 0, .kind = 2},
    };
    size_t taken = 9;
    OK(tapeline_ingest_batch(bus, inputs, 2, &taken));
    CHECK(taken == 2);
    OK(tapeline_flush(bus, 10000));

    tapeline_event events[3];
    tapeline_page_info page = {.struct_size = sizeof page};
    OK(tapeline_poll(bus, NULL, events, 3, &page));
    CHECK(page.struct_size == sizeof page && page.event_count == 3 && page.has_more == 1 && page.gap_count == 0);
    CHECK(payload_is(&events[0], "Hel") && events[0].kind == TAPELINE_KIND_TOKEN && events[0].item == TAPELINE_ITEM_EVENT);
    CHECK(events[0].session.high == chat.high && events[0].session.low == chat.low && events[0].sequence == 0);
    CHECK(payload_is(&events[1], "{\"tool\": \"x\"}") && events[1].time_ns > events[0].time_ns);
    char text[128];
    size_t length = 0;
    OK(tapeline_event_id(bus, &events[1], text, sizeof text, &length));
    CHECK(length == strlen(text) && length > 32);
    OK(tapeline_page_failures(page.page, text, sizeof text, &length));
    CHECK(strcmp(text, "[]") == 0);
    size_t gaps = 9;
    OK(tapeline_page_gaps(page.page, NULL, 0, &gaps));
    CHECK(gaps == 0);

    // The next page, with the rest.
    tapeline_page first = page.page;
    tapeline_poll_options options = {.struct_size = sizeof options, .cursor = page.cursor, .ordering = TAPELINE_ORDERING_NONE};
    OK(tapeline_poll(bus, &options, events, 3, &page));
    CHECK(page.event_count == 1 && payload_is(&events[0], "") && events[0].kind == 2);
    OK(tapeline_page_close(first));
    OK(tapeline_page_close(page.page));

    const uint16_t kinds[] = {TAPELINE_KIND_TOOL_CALL};
    options = (tapeline_poll_options){.struct_size = sizeof options, .kinds = kinds, .kind_count = 1,
                                      .filter = "{\"path\": \"tool\", \"value\": \"x\"}",
                                      .sessions = &chat, .session_count = 1};
    OK(tapeline_poll(bus, &options, events, 3, &page));
    CHECK(page.event_count == 1 && events[0].sequence == 1);
    OK(tapeline_page_close(page.page));
    options = (tapeline_poll_options){.struct_size = sizeof options, .filter = "{\"$nothing\": 1}"};
    RETURNS(TAPELINE_FILTER, tapeline_poll(bus, &options, events, 3, &page));
    options = (tapeline_poll_options){.struct_size = sizeof options, .cursor = "no cursor"};
    RETURNS(TAPELINE_CURSOR, tapeline_poll(bus, &options, events, 3, &page));

    tapeline_stats stats = {.struct_size = sizeof stats};
    OK(tapeline_get_stats(bus, &stats));
    CHECK(stats.struct_size == sizeof stats && stats.events_ingested == 4 && stats.events_durable == 4);
    length = 0;
    RETURNS(TAPELINE_BUFFER, tapeline_prometheus(bus, text, sizeof text, &length));
    CHECK(length > sizeof text);
    char *numbers = malloc(length + 1000);
    CHECK(numbers != NULL);
    OK(tapeline_prometheus(bus, numbers, length + 1000, &length));
    CHECK(strstr(numbers, "tapeline_events_ingested_total") != NULL);
    free(numbers);
    OK(tapeline_health(bus));
    char shards[2048];
    OK(tapeline_shards(bus, shards, sizeof shards, &length));
    CHECK(strstr(shards, "\"shard\":0") != NULL && strstr(shards, "\"events_durable\":4") != NULL);
    CHECK(strstr(shards, "\"poison\":null") != NULL && strstr(shards, "\"cuts\":[]") != NULL);
    OK(tapeline_close(bus, -1));
}

static void producers(void) {
    tapeline_bus bus = {0};
    OK(tapeline_open("{\"payload_bytes_max\": 1000, \"placement\": {\"pinned\": false}}", &bus));
    tapeline_producer_options options = {.struct_size = sizeof options, .backpressure = TAPELINE_BACKPRESSURE_BLOCK,
                                         .deadline_ms = 1000, .lane_bytes = 1 << 20};
    tapeline_producer producer = {0};
    OK(tapeline_producer_open(bus, &options, &producer));
    tapeline_session chat = named("chat-42");
    tapeline_ticket ticket;
    OK(tapeline_emit(producer, chat, TAPELINE_KIND_TOKEN, (const uint8_t *)"Hel", 3, NULL));
    OK(tapeline_emit(producer, chat, TAPELINE_KIND_TOKEN, NULL, 0, &ticket));
    OK(tapeline_producer_flush(producer, 10000));
    const tapeline_input inputs[] = {{.payload = (const uint8_t *)"l", .payload_len = 1, .kind = 1},
                                     {.payload = (const uint8_t *)"o", .payload_len = 1, .kind = 1}};
    OK(tapeline_emit_batch(producer, chat, inputs, 2, NULL, NULL, &ticket));
    OK(tapeline_wait_durable(bus, &ticket, 10000));
    RETURNS(TAPELINE_RESERVED_KIND, tapeline_emit(producer, chat, 65535, NULL, 0, NULL));
    static uint8_t large[1001];
    RETURNS(TAPELINE_TOO_LARGE, tapeline_emit(producer, chat, 1, large, sizeof large, NULL));

    // A batch with the cursor of what it was derived from.
    tapeline_reader reader = {0};
    OK(tapeline_subscribe(bus, NULL, &reader));
    tapeline_event events[8];
    size_t count = 0, length = 0;
    OK(tapeline_reader_next(reader, events, 8, 10000, &count));
    CHECK(count == 4 && payload_is(&events[3], "o"));
    char cursor[512], kept[512];
    OK(tapeline_reader_cursor(reader, cursor, sizeof cursor, &length));
    CHECK(length == strlen(cursor));
    OK(tapeline_emit_batch(producer, chat, inputs, 1, "tap", cursor, &ticket));
    OK(tapeline_wait_durable(bus, &ticket, 10000));
    OK(tapeline_cursor_load(bus, "tap", kept, sizeof kept, NULL));
    CHECK(strcmp(kept, cursor) == 0);
    OK(tapeline_cursor_save(bus, "other", cursor));
    char all[2048];
    OK(tapeline_cursors(bus, all, sizeof all, NULL));
    CHECK(strstr(all, "\"tap\"") != NULL && strstr(all, "\"other\"") != NULL);
    OK(tapeline_cursor_remove(bus, "other"));
    RETURNS(TAPELINE_NOT_FOUND, tapeline_cursor_remove(bus, "other"));
    RETURNS(TAPELINE_NOT_FOUND, tapeline_cursor_load(bus, "other", kept, sizeof kept, NULL));
    OK(tapeline_reader_close(reader));
    OK(tapeline_producer_close(producer));
    OK(tapeline_close(bus, -1));
}

// Events that a full lane refuses come back, and readers of their sessions learn how many there were.
static void refused_events_are_reported(void) {
    const tapeline_pair pairs[] = {{"backpressure_mode", "fail_and_report"}, {"placement.pinned", "false"}};
    const tapeline_producer_options modes[] = {
        {.struct_size = sizeof *modes, .lane_bytes = 65536},
        {.struct_size = sizeof *modes, .lane_bytes = 65536, .backpressure = TAPELINE_BACKPRESSURE_FAIL_AND_REPORT}};
    for (size_t mode = 0; mode < 2; mode++) {
        tapeline_bus bus = {0};
        tapeline_producer producer = {0};
        OK(tapeline_open_pairs(pairs + mode, 2 - mode, &bus));
        OK(tapeline_producer_open(bus, &modes[mode], &producer));
        tapeline_session chat = named("chat");
        static const uint8_t payload[1000];
        int32_t code = TAPELINE_OK;
        while (code == TAPELINE_OK) {
            code = tapeline_emit(producer, chat, TAPELINE_KIND_TOKEN, payload, sizeof payload, NULL);
        }
        CHECK(code == TAPELINE_BACKPRESSURE);
        OK(tapeline_producer_close(producer));
        OK(tapeline_flush(bus, -1));
        tapeline_replay_options options = {.struct_size = sizeof options, .sessions = &chat, .session_count = 1};
        tapeline_reader replay = {0};
        tapeline_event event;
        size_t count = 0, gaps = 0;
        OK(tapeline_replay(bus, &options, &replay));
        while ((code = tapeline_reader_next(replay, &event, 1, -1, &count)) == TAPELINE_OK) {
            gaps += event.item == TAPELINE_ITEM_GAP;
            CHECK(event.session_name == NULL && event.session_name_len == 0);
            if (event.item == TAPELINE_ITEM_EVENT) {
                CHECK(event.gap_events == 0 && event.gap_sessions == NULL && event.gap_session_count == 0);
                continue;
            }
            CHECK(event.gap_reason == TAPELINE_GAP_REFUSED && event.gap_events == 1 && event.gap_session_count == 1);
            const tapeline_gap_session *refused = event.gap_sessions;
            CHECK(refused->events == 1 && refused->session.high == chat.high && refused->session.low == chat.low);
        }
        CHECK(code == TAPELINE_END && gaps == 1);
        OK(tapeline_reader_close(replay));
        OK(tapeline_close(bus, -1));
    }
}

// A producer keeps what it knows of sessions: more of them than it keeps, and the session of none, get their own events.
static void many_sessions(void) {
    enum { SESSIONS = 40, EVENTS = 12000 };
    tapeline_bus bus = {0};
    OK(tapeline_open("{\"num_shards\": 3, \"placement\": {\"pinned\": false}}", &bus));
    tapeline_producer producer = {0};
    OK(tapeline_producer_open(bus, NULL, &producer));
    for (uint32_t at = 0; at < EVENTS; at++) {
        const tapeline_session session = {.high = at % 3, .low = at % SESSIONS};
        OK(tapeline_emit(producer, session, 1, (const uint8_t *)&at, sizeof at, NULL));
    }
    OK(tapeline_producer_close(producer));
    tapeline_reader replay = {0};
    OK(tapeline_replay(bus, NULL, &replay));
    uint32_t all = 0;
    tapeline_event events[100];
    size_t count = 0;
    while (tapeline_reader_next(replay, events, 100, -1, &count) == TAPELINE_OK) {
        for (size_t event = 0; event < count; event++, all++) {
            uint32_t at = 0;
            memcpy(&at, events[event].payload, sizeof at);
            CHECK(at == all && events[event].session.low == at % SESSIONS && events[event].session.high == at % 3);
        }
    }
    CHECK(all == EVENTS);
    OK(tapeline_reader_close(replay));
    OK(tapeline_close(bus, -1));
}

struct followed {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    size_t events;
    int32_t code;
};

static int32_t count_events(void *user, int32_t code, const tapeline_event *events, size_t count) {
    struct followed *followed = user;
    CHECK(pthread_mutex_lock(&followed->lock) == 0);
    for (size_t at = 0; at < count; at++) {
        CHECK(code == TAPELINE_OK && events[at].payload_len == 1);
    }
    followed->events += count;
    followed->code = code;
    CHECK(pthread_cond_signal(&followed->ended) == 0);
    CHECK(pthread_mutex_unlock(&followed->lock) == 0);
    return 0;
}

static int32_t close_itself(void *user, int32_t code, const tapeline_event *events, size_t count) {
    (void)events;
    tapeline_reader *reader = user;
    CHECK(code == TAPELINE_OK && count > 0);
    OK(tapeline_reader_close(*reader));
    return 0;
}

static void readers(void) {
    tapeline_bus bus = open_memory();
    tapeline_session session = {0, 0};
    const char *tags[] = {"software.model=llama-7b"};
    const tapeline_pair labels[] = {{"tenant", "t-1"}};
    tapeline_session_metadata metadata = {.struct_size = sizeof metadata, .model = "llama", .user = "u", .tags = tags,
                                          .tag_count = 1, .labels = labels, .label_count = 1};
    metadata.requirement = "hardware.gpu.vram_gb > 48";
    RETURNS(TAPELINE_FILTER, tapeline_session_open(bus, "chat-42", 7, &metadata, &session, NULL));
    metadata.requirement = "hardware.gpu.vram_gb >= 48";
    OK(tapeline_session_open(bus, "chat-42", 7, &metadata, &session, NULL));
    CHECK(session.low == named("chat-42").low);
    OK(tapeline_ingest(bus, session, 1, (const uint8_t *)"a", 1, NULL));
    OK(tapeline_ingest(bus, session, 1, (const uint8_t *)"b", 1, NULL));

    tapeline_reader relay = {0};
    OK(tapeline_relay(bus, session, NULL, TAPELINE_VISIBILITY_DURABLE, &relay));
    int fd = -1;
    OK(tapeline_reader_fd(relay, &fd));
    tapeline_event event;
    size_t count = 0;
    char token[TAPELINE_TOKEN_BYTES] = "";
    for (int at = 0; at < 2; at++) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        CHECK(poll(&ready, 1, 10000) == 1);
        // The opening, then "a".
        OK(tapeline_reader_next(relay, &event, 1, 10000, &count));
        CHECK(count == 1);
        OK(tapeline_event_token(&event, token));
        CHECK(strlen(token) == TAPELINE_TOKEN_BYTES - 1);
    }
    CHECK(payload_is(&event, "a") && name_is(&event, "chat-42"));
    char cursor[64];
    RETURNS(TAPELINE_ARGUMENT, tapeline_reader_cursor(relay, cursor, sizeof cursor, NULL));
    OK(tapeline_reader_close(relay));

    // The descriptor of one that waits goes with it, whatever threads of the bus still do with the reader.
    for (int at = 0; at < 50; at++) {
        OK(tapeline_relay(bus, named("waited for"), NULL, TAPELINE_VISIBILITY_APPENDED, &relay));
        OK(tapeline_reader_fd(relay, &fd));
        while (tapeline_reader_next(relay, &event, 1, 0, &count) != TAPELINE_TIMEOUT) {
        }
        OK(tapeline_ingest(bus, named("waited for"), 1, NULL, 0, NULL));
        OK(tapeline_reader_close(relay));
        CHECK(fcntl(fd, F_GETFD) == -1);
    }

    // Resumed after "a": "b", then nothing yet, then the close.
    OK(tapeline_relay(bus, session, token, TAPELINE_VISIBILITY_APPENDED, &relay));
    OK(tapeline_reader_fd(relay, &fd));
    OK(tapeline_reader_next(relay, &event, 1, 10000, &count));
    CHECK(payload_is(&event, "b"));
    RETURNS(TAPELINE_TIMEOUT, tapeline_reader_next(relay, &event, 1, 0, &count));
    tapeline_ticket ticket;
    OK(tapeline_session_close(bus, session, TAPELINE_OUTCOME_FINISHED, &ticket));
    RETURNS(TAPELINE_SESSION_CLOSED, tapeline_ingest(bus, session, 1, (const uint8_t *)"c", 1, NULL));
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    CHECK(poll(&ready, 1, 10000) == 1);
    OK(tapeline_reader_next(relay, &event, 1, 10000, &count));
    CHECK(event.kind == TAPELINE_KIND_SESSION);
    RETURNS(TAPELINE_END, tapeline_reader_next(relay, &event, 1, -1, &count));
    RETURNS(TAPELINE_END, tapeline_reader_next(relay, &event, 1, -1, &count));
    OK(tapeline_reader_close(relay));
    RETURNS(TAPELINE_TOKEN, tapeline_relay(bus, named("another"), token, 0, &relay));
    RETURNS(TAPELINE_TOKEN, tapeline_relay(bus, session, "no token", 0, &relay));

    char summary[1024];
    OK(tapeline_session_summary(bus, session, summary, sizeof summary, NULL));
    CHECK(strstr(summary, "\"state\":\"closed\"") != NULL && strstr(summary, "\"outcome\":\"finished\"") != NULL);
    CHECK(strstr(summary, "\"model\":\"llama\"") != NULL && strstr(summary, "t-1") != NULL);
    RETURNS(TAPELINE_NOT_FOUND, tapeline_session_summary(bus, named("another"), summary, sizeof summary, NULL));
    OK(tapeline_sessions(bus, "software.model=llama-7b", summary, sizeof summary, NULL));
    CHECK(strstr(summary, "chat-42") != NULL);
    OK(tapeline_sessions(bus, "software.model=other", summary, sizeof summary, NULL));
    CHECK(strcmp(summary, "[]") == 0);

    // Consumers that meet the session's requirement get its events, and others do not.
    const char *suits[] = {"{\"$suits\": [\"hardware.gpu.vram_gb=80\"]}", "{\"$suits\": [\"hardware.gpu.vram_gb=24\"]}"};
    for (int at = 0; at < 2; at++) {
        const uint16_t tokens[] = {TAPELINE_KIND_TOKEN};
        tapeline_replay_options options = {.struct_size = sizeof options, .filter = suits[at], .sessions = &session,
                                           .session_count = 1, .kinds = tokens, .kind_count = 1};
        tapeline_reader replay = {0};
        tapeline_event tokens_found[8];
        OK(tapeline_replay(bus, &options, &replay));
        const int32_t found = tapeline_reader_next(replay, tokens_found, 8, 10000, &count);
        CHECK(at == 0 ? found == TAPELINE_OK && count == 2 : found == TAPELINE_END);
        OK(tapeline_reader_close(replay));
    }

    // The log as it is now, at once and at ten times its pace.
    for (int paced = 0; paced < 2; paced++) {
        tapeline_replay_options options = {.struct_size = sizeof options, .sessions = &session, .session_count = 1,
                                           .speed = paced ? 10.0 : 0.0};
        tapeline_reader replay = {0};
        OK(tapeline_replay(bus, &options, &replay));
        size_t all = 0;
        int32_t code = 0;
        while ((code = tapeline_reader_next(replay, &event, 1, 10000, &count)) == TAPELINE_OK) {
            all += count;
        }
        CHECK(code == TAPELINE_END && all == 4);
        OK(tapeline_reader_close(replay));
    }

    // A callback gets what comes, and the end.
    struct followed follower = {.lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};
    const uint16_t kinds[] = {TAPELINE_KIND_TOKEN};
    tapeline_subscribe_options wanted = {.struct_size = sizeof wanted, .kinds = kinds, .kind_count = 1,
                                         .sessions = &session, .session_count = 1};
    tapeline_reader followed = {0};
    // Its thread may come to it later.
    static tapeline_reader brief;
    OK(tapeline_subscribe(bus, &wanted, &followed));
    OK(tapeline_reader_start(followed, count_events, &follower));
    RETURNS(TAPELINE_BUSY, tapeline_reader_start(followed, count_events, &follower));
    // One that closes its own reader gets no more.
    OK(tapeline_subscribe(bus, &wanted, &brief));
    OK(tapeline_reader_start(brief, close_itself, &brief));
    OK(tapeline_close(bus, -1));
    CHECK(pthread_mutex_lock(&follower.lock) == 0);
    while (follower.code != TAPELINE_END) {
        CHECK(pthread_cond_wait(&follower.ended, &follower.lock) == 0);
    }
    CHECK(pthread_mutex_unlock(&follower.lock) == 0);
    CHECK(follower.events == 2);
    OK(tapeline_reader_close(followed));
    RETURNS(TAPELINE_NULL, tapeline_reader_start(followed, NULL, NULL));
}

// A log gives up its oldest segments, with a bus and without one; what a cursor has not passed stays if it is asked for.
static void trims(const char *directory) {
    const tapeline_pair pairs[] = {
        {"directory", directory}, {"placement.pinned", "false"}, {"segment_bytes", "2097152"},
        {"placement.driver", driver()}};
    static const uint8_t payload[100000];
    tapeline_bus bus = {0};
    char cursor[512];
    tapeline_page_info page = {.struct_size = sizeof page};
    tapeline_event event;
    OK(tapeline_open_pairs(pairs, 4, &bus));
    for (int at = 0; at < 60; at++) {
        OK(tapeline_ingest(bus, named("trimmed"), TAPELINE_KIND_TOKEN, payload, sizeof payload, NULL));
        OK(tapeline_flush(bus, -1));
    }
    OK(tapeline_poll(bus, NULL, &event, 1, &page));
    snprintf(cursor, sizeof cursor, "%s", page.cursor);
    OK(tapeline_page_close(page.page));
    OK(tapeline_cursor_save(bus, "slow", cursor));

    tapeline_retention policy = {.struct_size = sizeof policy};
    tapeline_trimmed planned = {.struct_size = sizeof planned}, trimmed = planned;
    RETURNS(TAPELINE_CONFIG, tapeline_trim(bus, &policy, &trimmed));
    policy.max_segments = 2;
    policy.keep_for_cursors = 1;
    OK(tapeline_trim(bus, &policy, &trimmed));
    CHECK(trimmed.struct_size == sizeof trimmed && trimmed.segments_kept_for_cursors > 0);
    const uint64_t before = trimmed.segments_left;
    policy.keep_for_cursors = 0;
    OK(tapeline_plan_trim(bus, &policy, &planned));
    CHECK(planned.segments > 0 && planned.bytes > 0 && planned.events > 0);
    OK(tapeline_trim(bus, &policy, &trimmed));
    CHECK(trimmed.segments >= planned.segments && trimmed.segments_left < before && trimmed.bytes_left > 0);
    tapeline_poll_options options = {.struct_size = sizeof options, .cursor = cursor};
    RETURNS(TAPELINE_CURSOR, tapeline_poll(bus, &options, &event, 1, &page));
    RETURNS(TAPELINE_LOCKED, tapeline_log_trim(directory, &policy, &trimmed));
    OK(tapeline_close(bus, -1));

    const uint64_t left = trimmed.segments_left;
    policy = (tapeline_retention){.struct_size = sizeof policy, .max_segments = 1};
    OK(tapeline_log_trim(directory, &policy, &trimmed));
    CHECK(trimmed.segments > 0 && trimmed.segments_left < left + 2);
}

// The files of a log, also while a bus writes them.
static void logs(const char *directory) {
    // Small segments: who opens a log beside its writer reads the last one whole, which takes valgrind minutes.
    const tapeline_pair pairs[] = {
        {"directory", directory}, {"placement.pinned", "false"}, {"segment_bytes", "2097152"},
        {"placement.driver", driver()}};
    tapeline_bus bus = {0};
    OK(tapeline_open_pairs(pairs, 4, &bus));
    tapeline_session chat = {0};
    OK(tapeline_session_open(bus, "chat-42", 7, NULL, &chat, NULL));
    OK(tapeline_ingest(bus, chat, TAPELINE_KIND_TOKEN, (const uint8_t *)"Hel", 3, NULL));
    OK(tapeline_session_close(bus, chat, TAPELINE_OUTCOME_STOPPED, NULL));
    RETURNS(TAPELINE_SESSION_CLOSED, tapeline_ingest(bus, chat, 1, (const uint8_t *)"lo", 2, NULL));
    tapeline_session_metadata metadata = {.struct_size = sizeof metadata, .model = "llama"};
    tapeline_ticket ticket;
    OK(tapeline_session_reopen(bus, chat, &metadata, &ticket));
    OK(tapeline_ingest(bus, chat, TAPELINE_KIND_TOKEN, (const uint8_t *)"lo", 2, NULL));
    const tapeline_session none = {0, 0};
    RETURNS(TAPELINE_NO_SESSION, tapeline_session_reopen(bus, none, NULL, NULL));
    OK(tapeline_flush(bus, -1));

    tapeline_log log = {0};
    OK(tapeline_log_open(directory, &log));
    char text[2048];
    OK(tapeline_log_sessions(log, NULL, text, sizeof text, NULL));
    CHECK(strstr(text, "\"name\":\"chat-42\"") != NULL && strstr(text, "\"model\":\"llama\"") != NULL);
    OK(tapeline_log_sessions(log, "software.model=other", text, sizeof text, NULL));
    CHECK(strcmp(text, "[]") == 0);
    OK(tapeline_unfinished(bus, text, sizeof text, NULL));
    CHECK(strcmp(text, "[]") == 0);
    tapeline_replay_options wanted = {.struct_size = sizeof wanted, .sessions = &chat, .session_count = 1};
    tapeline_reader reader = {0};
    tapeline_event events[8];
    size_t count = 0;
    OK(tapeline_log_replay(log, &wanted, &reader));
    OK(tapeline_reader_next(reader, events, 8, -1, &count));
    CHECK(count == 5 && payload_is(&events[1], "Hel") && payload_is(&events[4], "lo"));
    RETURNS(TAPELINE_END, tapeline_reader_next(reader, events, 8, -1, &count));
    OK(tapeline_reader_close(reader));
    wanted.speed = 1.0;
    RETURNS(TAPELINE_ARGUMENT, tapeline_log_replay(log, &wanted, &reader));
    OK(tapeline_log_cursors(log, text, sizeof text, NULL));
    CHECK(strcmp(text, "[]") == 0);
    OK(tapeline_log_close(log));
    RETURNS(TAPELINE_HANDLE, tapeline_log_close(log));
    RETURNS(TAPELINE_HANDLE, tapeline_log_replay((tapeline_log){bus.number}, NULL, &reader));
    RETURNS(TAPELINE_IO, tapeline_log_open("/nothing/there", &log));

    // A follower gets what becomes durable, of what it asked for.
    const uint16_t kinds[] = {TAPELINE_KIND_TOOL_CALL};
    tapeline_subscribe_options options = {.struct_size = sizeof options, .start = TAPELINE_START_LATEST, .kinds = kinds,
                                          .kind_count = 1};
    OK(tapeline_follow(directory, &options, &reader));
    RETURNS(TAPELINE_TIMEOUT, tapeline_reader_next(reader, events, 8, 0, &count));
    struct pollfd ready = {.fd = -1, .events = POLLIN};
    OK(tapeline_reader_fd(reader, &ready.fd));
    // A call that finds nothing ends the first ring: from here on only the next look at the files can end the wait.
    RETURNS(TAPELINE_TIMEOUT, tapeline_reader_next(reader, events, 8, 0, &count));
    OK(tapeline_ingest(bus, chat, TAPELINE_KIND_TOKEN, (const uint8_t *)"token", 5, NULL));
    OK(tapeline_ingest(bus, chat, TAPELINE_KIND_TOOL_CALL, (const uint8_t *)"first", 5, NULL));
    OK(tapeline_flush(bus, -1));
    int32_t found = TAPELINE_TIMEOUT;
    while (found == TAPELINE_TIMEOUT) {
        CHECK(poll(&ready, 1, 10000) == 1);
        found = tapeline_reader_next(reader, events, 8, 0, &count);
    }
    CHECK(found == TAPELINE_OK && count == 1 && payload_is(&events[0], "first") && name_is(&events[0], "chat-42"));
    // There may be more at once; after a call that found nothing, at the next look.
    CHECK(poll(&ready, 1, 0) == 1);
    OK(tapeline_reader_cursor(reader, text, sizeof text, NULL));
    OK(tapeline_reader_close(reader));
    // Another one goes on after its cursor.
    OK(tapeline_ingest(bus, chat, TAPELINE_KIND_TOOL_CALL, (const uint8_t *)"second", 6, NULL));
    OK(tapeline_close(bus, -1));
    options.cursor = text;
    OK(tapeline_follow(directory, &options, &reader));
    OK(tapeline_reader_next(reader, events, 8, 10000, &count));
    CHECK(count == 1 && payload_is(&events[0], "second"));
    OK(tapeline_reader_close(reader));
    trims(directory);
    options.until_close = 1;
    RETURNS(TAPELINE_ARGUMENT, tapeline_follow(directory, &options, &reader));
    RETURNS(TAPELINE_IO, tapeline_follow("/nothing/there", NULL, &reader));
}

int main(void) {
    char directory[] = "/tmp/tapeline-c-XXXXXX";
    CHECK(mkdtemp(directory) != NULL);
    library();
    settings(directory);
    ingest_and_poll();
    producers();
    refused_events_are_reported();
    many_sessions();
    readers();
    char logged[128];
    snprintf(logged, sizeof logged, "%s/log", directory);
    logs(logged);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", directory);
    CHECK(system(command) == 0);
    puts("functions: ok");
    return 0;
}
