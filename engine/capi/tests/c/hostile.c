// Misuse is an error with a text: null and unaligned pointers, handles that are closed, made up or of another type, wrong
// sizes, wrong enumerations, forks, threads. Results stay as they were.
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static void null_pointers(tapeline_bus bus, tapeline_producer producer) {
    tapeline_session none = {0, 0};
    tapeline_event event;
    tapeline_page_info page = {.struct_size = sizeof page};
    tapeline_ticket ticket;
    size_t count = 0;
    char buffer[8];
    RETURNS(TAPELINE_NULL, tapeline_open("{}", NULL));
    RETURNS(TAPELINE_NULL, tapeline_open_pairs(NULL, 2, &bus));
    const tapeline_pair pair = {NULL, NULL};
    RETURNS(TAPELINE_NULL, tapeline_open_pairs(&pair, 1, &bus));
    RETURNS(TAPELINE_NULL, tapeline_ingest(bus, none, 1, NULL, 5, &ticket));
    CHECK(strstr(tapeline_last_error(), "payload") != NULL);
    RETURNS(TAPELINE_NULL, tapeline_emit(producer, none, 1, NULL, 5, &ticket));
    RETURNS(TAPELINE_NULL, tapeline_ingest_batch(bus, NULL, 1, &count));
    RETURNS(TAPELINE_NULL, tapeline_wait_durable(bus, NULL, 0));
    RETURNS(TAPELINE_NULL, tapeline_is_durable(bus, &ticket, NULL));
    RETURNS(TAPELINE_NULL, tapeline_get_stats(bus, NULL));
    RETURNS(TAPELINE_NULL, tapeline_prometheus(bus, NULL, 10, &count));
    RETURNS(TAPELINE_NULL, tapeline_num_shards(bus, NULL));
    RETURNS(TAPELINE_NULL, tapeline_producer_open(bus, NULL, NULL));
    RETURNS(TAPELINE_NULL, tapeline_poll(bus, NULL, NULL, 1, &page));
    RETURNS(TAPELINE_NULL, tapeline_poll(bus, NULL, &event, 1, NULL));
    RETURNS(TAPELINE_NULL, tapeline_subscribe(bus, NULL, NULL));
    RETURNS(TAPELINE_NULL, tapeline_session_named(NULL, 3, &none));
    RETURNS(TAPELINE_NULL, tapeline_session_named("a", 1, NULL));
    RETURNS(TAPELINE_NULL, tapeline_cursor_save(bus, "a", NULL));
    RETURNS(TAPELINE_NULL, tapeline_cursor_load(bus, NULL, buffer, sizeof buffer, &count));
    RETURNS(TAPELINE_NULL, tapeline_event_token(NULL, buffer));
    int32_t is_met = 0;
    tapeline_log log = {0};
    tapeline_reader reader = {0};
    RETURNS(TAPELINE_NULL, tapeline_requirement_met(NULL, NULL, 0, NULL));
    RETURNS(TAPELINE_NULL, tapeline_requirement_met(NULL, NULL, 0, &is_met));
    RETURNS(TAPELINE_NULL, tapeline_log_open(NULL, &log));
    RETURNS(TAPELINE_NULL, tapeline_log_open("/tmp", NULL));
    RETURNS(TAPELINE_NULL, tapeline_follow(NULL, NULL, &reader));
    RETURNS(TAPELINE_NULL, tapeline_follow("/tmp", NULL, NULL));
    RETURNS(TAPELINE_UTF8, tapeline_log_open("/tmp/\xff", &log));
    tapeline_retention policy = {.struct_size = sizeof policy, .max_segments = 1};
    tapeline_trimmed trimmed = {.struct_size = sizeof trimmed};
    RETURNS(TAPELINE_NULL, tapeline_trim(bus, NULL, &trimmed));
    RETURNS(TAPELINE_NULL, tapeline_plan_trim(bus, &policy, NULL));
    RETURNS(TAPELINE_NULL, tapeline_log_trim(NULL, &policy, &trimmed));
    RETURNS(TAPELINE_NULL, tapeline_emit_batch(producer, none, NULL, 0, "name", NULL, &ticket));
    // A length of nothing needs no memory.
    OK(tapeline_emit(producer, none, 1, NULL, 0, NULL));
    OK(tapeline_ingest_batch(bus, NULL, 0, NULL));
    // No memory is that large.
    RETURNS(TAPELINE_ARGUMENT, tapeline_emit(producer, none, 1, (const uint8_t *)"x", SIZE_MAX, NULL));
    RETURNS(TAPELINE_UTF8, tapeline_session_named("\xff", 1, &none));
}

// What no bus takes is refused before it is read: a length that is wrong reads no foreign memory.
static void huge_lengths(tapeline_bus bus, tapeline_producer producer) {
    const uint8_t *byte = (const uint8_t *)"1";
    tapeline_session none = {0, 0};
    const size_t lengths[] = {((size_t)64 << 20) + 1, (size_t)1 << 40, SIZE_MAX / 2};
    for (size_t at = 0; at < sizeof lengths / sizeof *lengths; at++) {
        RETURNS(TAPELINE_TOO_LARGE, tapeline_emit(producer, none, 1, byte, lengths[at], NULL));
        RETURNS(TAPELINE_TOO_LARGE, tapeline_ingest(bus, none, 1, byte, lengths[at], NULL));
        RETURNS(TAPELINE_TOO_LARGE, tapeline_ingest_json(bus, none, 1, (const char *)byte, lengths[at], NULL));
        const tapeline_input inputs[] = {{.payload = byte, .payload_len = 1, .kind = 1},
                                         {.payload = byte, .payload_len = lengths[at], .kind = 1},
                                         {.payload = byte, .payload_len = 1, .kind = 1}};
        size_t taken = 9;
        RETURNS(TAPELINE_TOO_LARGE, tapeline_ingest_batch(bus, inputs, 3, &taken));
        CHECK(taken == 1);
        RETURNS(TAPELINE_TOO_LARGE, tapeline_emit_batch(producer, none, inputs, 3, NULL, NULL, NULL));
    }
}

// Times and paces at the ends of their ranges.
static void extreme_numbers(void) {
    tapeline_bus bus = open_memory();
    tapeline_session none = {0, 0};
    OK(tapeline_ingest(bus, none, 1, NULL, 0, NULL));
    OK(tapeline_ingest(bus, none, 1, NULL, 0, NULL));
    OK(tapeline_flush(bus, INT64_MAX));
    tapeline_replay_options options = {.struct_size = sizeof options, .speed = 5e-324};
    tapeline_reader reader = {0};
    tapeline_event event;
    size_t count = 0;
    OK(tapeline_replay(bus, &options, &reader));
    OK(tapeline_reader_next(reader, &event, 1, INT64_MAX, &count));
    RETURNS(TAPELINE_TIMEOUT, tapeline_reader_next(reader, &event, 1, 1, &count));
    OK(tapeline_reader_close(reader));
    tapeline_poll_options poll = {.struct_size = sizeof poll, .start = TAPELINE_START_TIME, .start_time_ns = UINT64_MAX};
    tapeline_page_info page = {.struct_size = sizeof page};
    OK(tapeline_poll(bus, &poll, &event, 1, &page));
    CHECK(page.event_count == 0);
    OK(tapeline_page_close(page.page));
    OK(tapeline_close(bus, INT64_MAX));
}

struct called {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    tapeline_reader reader;
    int was_called;
    int may_return;
};

static int32_t use_own_reader(void *user, int32_t code, const tapeline_event *events, size_t count) {
    struct called *called = user;
    if (code != TAPELINE_OK) {
        return 0;
    }
    tapeline_event event;
    size_t found = 0;
    char cursor[512];
    CHECK(count == 1 && payload_is(&events[0], "kept"));
    RETURNS(TAPELINE_BUSY, tapeline_reader_next(called->reader, &event, 1, 0, &found));
    OK(tapeline_reader_cursor(called->reader, cursor, sizeof cursor, NULL));
    CHECK(pthread_mutex_lock(&called->lock) == 0);
    called->was_called = 1;
    CHECK(pthread_cond_signal(&called->changed) == 0);
    while (!called->may_return) {
        CHECK(pthread_cond_wait(&called->changed, &called->lock) == 0);
    }
    CHECK(pthread_mutex_unlock(&called->lock) == 0);
    CHECK(payload_is(&events[0], "kept"));
    return 0;
}

// The events of a callback stay until it returns, whatever other threads do with its reader.
static void callbacks(void) {
    tapeline_bus bus = open_memory();
    struct called called = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    tapeline_session none = {0, 0};
    tapeline_event event;
    size_t found = 0;
    char cursor[512];
    OK(tapeline_subscribe(bus, NULL, &called.reader));
    OK(tapeline_reader_start(called.reader, use_own_reader, &called));
    OK(tapeline_ingest(bus, none, 1, (const uint8_t *)"kept", 4, NULL));
    CHECK(pthread_mutex_lock(&called.lock) == 0);
    while (!called.was_called) {
        CHECK(pthread_cond_wait(&called.changed, &called.lock) == 0);
    }
    RETURNS(TAPELINE_BUSY, tapeline_reader_next(called.reader, &event, 1, 0, &found));
    RETURNS(TAPELINE_BUSY, tapeline_reader_start(called.reader, use_own_reader, &called));
    OK(tapeline_reader_cursor(called.reader, cursor, sizeof cursor, NULL));
    called.may_return = 1;
    CHECK(pthread_cond_signal(&called.changed) == 0);
    CHECK(pthread_mutex_unlock(&called.lock) == 0);
    // Calls that are refused end no callback.
    for (int at = 0; at < 1000; at++) {
        RETURNS(TAPELINE_BUSY, tapeline_reader_next(called.reader, &event, 1, 0, &found));
    }
    OK(tapeline_reader_close(called.reader));
    OK(tapeline_close(bus, -1));
}

// Two callbacks, each of which closes the other's reader once both are called.
struct pair {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    tapeline_reader readers[2];
    int32_t codes[2];
    int called, returned;
};

static int32_t close_the_other(struct pair *pair, int other, int32_t code) {
    if (code != TAPELINE_OK) {
        return 0;
    }
    CHECK(pthread_mutex_lock(&pair->lock) == 0);
    pair->called++;
    CHECK(pthread_cond_broadcast(&pair->changed) == 0);
    while (pair->called < 2) {
        CHECK(pthread_cond_wait(&pair->changed, &pair->lock) == 0);
    }
    CHECK(pthread_mutex_unlock(&pair->lock) == 0);
    const int32_t closed = tapeline_reader_close(pair->readers[other]);
    CHECK(pthread_mutex_lock(&pair->lock) == 0);
    pair->codes[other] = closed;
    pair->returned++;
    CHECK(pthread_cond_broadcast(&pair->changed) == 0);
    CHECK(pthread_mutex_unlock(&pair->lock) == 0);
    return 1;
}

static int32_t close_second(void *user, int32_t code, const tapeline_event *events, size_t count) {
    (void)events, (void)count;
    return close_the_other(user, 1, code);
}

static int32_t close_first(void *user, int32_t code, const tapeline_event *events, size_t count) {
    (void)events, (void)count;
    return close_the_other(user, 0, code);
}

static void callbacks_that_close_each_other(void) {
    tapeline_bus bus = open_memory();
    tapeline_session none = {0, 0};
    struct pair pair = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    OK(tapeline_subscribe(bus, NULL, &pair.readers[0]));
    OK(tapeline_subscribe(bus, NULL, &pair.readers[1]));
    OK(tapeline_reader_start(pair.readers[0], close_second, &pair));
    OK(tapeline_reader_start(pair.readers[1], close_first, &pair));
    OK(tapeline_ingest(bus, none, 1, NULL, 0, NULL));
    CHECK(pthread_mutex_lock(&pair.lock) == 0);
    while (pair.returned < 2) {
        CHECK(pthread_cond_wait(&pair.changed, &pair.lock) == 0);
    }
    CHECK(pthread_mutex_unlock(&pair.lock) == 0);
    // One of them was refused at least, and its reader is open.
    CHECK(pair.codes[0] == TAPELINE_BUSY || pair.codes[1] == TAPELINE_BUSY);
    for (int at = 0; at < 2; at++) {
        CHECK(pair.codes[at] == TAPELINE_BUSY || pair.codes[at] == TAPELINE_OK);
        RETURNS(pair.codes[at] == TAPELINE_OK ? TAPELINE_HANDLE : TAPELINE_OK, tapeline_reader_close(pair.readers[at]));
    }
    OK(tapeline_close(bus, -1));
}

static void unaligned(tapeline_bus bus, tapeline_producer producer) {
    _Alignas(16) char memory[64] = {0};
    tapeline_session none = {0, 0};
    RETURNS(TAPELINE_ARGUMENT, tapeline_emit(producer, none, 1, NULL, 0, (tapeline_ticket *)(void *)(memory + 1)));
    RETURNS(TAPELINE_ARGUMENT, tapeline_num_shards(bus, (uint16_t *)(void *)(memory + 1)));
    RETURNS(TAPELINE_ARGUMENT, tapeline_ingest_batch(bus, (const tapeline_input *)(void *)(memory + 1), 1, NULL));
}

static void made_up_handles(tapeline_bus bus, tapeline_producer producer) {
    const uint64_t numbers[] = {0, 1, 42, UINT64_MAX, (uint64_t)(uintptr_t)&bus, bus.number ^ (1ull << 24),
                                bus.number + 1, producer.number + 1, producer.number ^ (1ull << 24)};
    for (size_t at = 0; at < sizeof numbers / sizeof *numbers; at++) {
        tapeline_session none = {0, 0};
        tapeline_event event;
        size_t count = 9;
        RETURNS(TAPELINE_HANDLE, tapeline_flush((tapeline_bus){numbers[at]}, 0));
        RETURNS(TAPELINE_HANDLE, tapeline_close((tapeline_bus){numbers[at]}, 0));
        RETURNS(TAPELINE_HANDLE, tapeline_emit((tapeline_producer){numbers[at]}, none, 1, NULL, 0, NULL));
        RETURNS(TAPELINE_HANDLE, tapeline_producer_close((tapeline_producer){numbers[at]}));
        RETURNS(TAPELINE_HANDLE, tapeline_reader_next((tapeline_reader){numbers[at]}, &event, 1, 0, &count));
        RETURNS(TAPELINE_HANDLE, tapeline_reader_close((tapeline_reader){numbers[at]}));
        RETURNS(TAPELINE_HANDLE, tapeline_page_close((tapeline_page){numbers[at]}));
        RETURNS(TAPELINE_HANDLE, tapeline_log_close((tapeline_log){numbers[at]}));
        CHECK(count == 9);
    }
    // Of another type: a bus as a producer, a producer as a bus.
    tapeline_session none = {0, 0};
    RETURNS(TAPELINE_HANDLE, tapeline_emit((tapeline_producer){bus.number}, none, 1, NULL, 0, NULL));
    CHECK(strstr(tapeline_last_error(), "a bus") != NULL);
    RETURNS(TAPELINE_HANDLE, tapeline_flush((tapeline_bus){producer.number}, 0));
    CHECK(strstr(tapeline_last_error(), "a producer") != NULL);
}

static void closed_handles(void) {
    tapeline_bus bus = open_memory();
    tapeline_producer producer = {0};
    tapeline_reader reader = {0};
    tapeline_session none = {0, 0};
    tapeline_event event;
    tapeline_page_info page = {.struct_size = sizeof page};
    size_t count = 0;
    OK(tapeline_producer_open(bus, NULL, &producer));
    OK(tapeline_ingest(bus, none, 1, NULL, 0, NULL));
    OK(tapeline_subscribe(bus, NULL, &reader));
    OK(tapeline_poll(bus, NULL, &event, 1, &page));
    OK(tapeline_page_close(page.page));
    RETURNS(TAPELINE_HANDLE, tapeline_page_close(page.page));
    OK(tapeline_reader_close(reader));
    RETURNS(TAPELINE_HANDLE, tapeline_reader_close(reader));
    RETURNS(TAPELINE_HANDLE, tapeline_reader_next(reader, &event, 1, 0, &count));
    // A slot that is used again gives another handle: the old one stays closed.
    for (int at = 0; at < 100; at++) {
        tapeline_producer later = {0};
        tapeline_producer last = producer;
        OK(tapeline_producer_close(producer));
        OK(tapeline_producer_open(bus, NULL, &later));
        CHECK(later.number != last.number);
        RETURNS(TAPELINE_HANDLE, tapeline_emit(last, none, 1, NULL, 0, NULL));
        producer = later;
    }
    // The bus ends; its producers and readers stay until they are closed.
    OK(tapeline_subscribe(bus, NULL, &reader));
    OK(tapeline_close(bus, -1));
    RETURNS(TAPELINE_HANDLE, tapeline_close(bus, -1));
    RETURNS(TAPELINE_HANDLE, tapeline_flush(bus, 0));
    RETURNS(TAPELINE_SHUTDOWN, tapeline_emit(producer, none, 1, NULL, 0, NULL));
    int32_t code = TAPELINE_OK;
    while (code == TAPELINE_OK) {
        code = tapeline_reader_next(reader, &event, 1, -1, &count);
    }
    CHECK(code == TAPELINE_END);
    OK(tapeline_reader_close(reader));
    OK(tapeline_producer_close(producer));
    RETURNS(TAPELINE_HANDLE, tapeline_producer_close(producer));
}

static void sizes_and_numbers(tapeline_bus bus, tapeline_producer producer) {
    struct {
        tapeline_producer_options options;
        uint64_t of_a_newer_version;
    } newer = {.options = {.struct_size = sizeof newer}};
    tapeline_producer opened = {0};
    // Members that a newer header has are 0: this library does what it knows.
    OK(tapeline_producer_open(bus, &newer.options, &opened));
    OK(tapeline_producer_close(opened));
    newer.of_a_newer_version = 1;
    RETURNS(TAPELINE_STRUCT_SIZE, tapeline_producer_open(bus, &newer.options, &opened));
    tapeline_producer_options options = {.struct_size = 0};
    RETURNS(TAPELINE_STRUCT_SIZE, tapeline_producer_open(bus, &options, &opened));
    options.struct_size = SIZE_MAX;
    RETURNS(TAPELINE_STRUCT_SIZE, tapeline_producer_open(bus, &options, &opened));
    options = (tapeline_producer_options){.struct_size = sizeof options, .backpressure = 77};
    RETURNS(TAPELINE_ARGUMENT, tapeline_producer_open(bus, &options, &opened));
    options = (tapeline_producer_options){.struct_size = sizeof options, .lane_bytes = 3};
    RETURNS(TAPELINE_CONFIG, tapeline_producer_open(bus, &options, &opened));
    tapeline_event event;
    tapeline_page_info page = {.struct_size = 8};
    RETURNS(TAPELINE_STRUCT_SIZE, tapeline_poll(bus, NULL, &event, 1, &page));
    page.struct_size = sizeof page;
    RETURNS(TAPELINE_ARGUMENT, tapeline_poll(bus, NULL, &event, 0, &page));
    tapeline_stats stats = {.struct_size = 1 << 20};
    RETURNS(TAPELINE_STRUCT_SIZE, tapeline_get_stats(bus, &stats));
    // An older header's structure gets what it has room for.
    struct {
        size_t struct_size;
        uint64_t events_ingested;
        uint64_t not_touched;
    } older = {.struct_size = 16, .not_touched = 77};
    OK(tapeline_get_stats(bus, (tapeline_stats *)(void *)&older));
    CHECK(older.struct_size == 16 && older.events_ingested > 0 && older.not_touched == 77);
    tapeline_replay_options replay = {.struct_size = sizeof replay, .speed = -1.0};
    tapeline_reader reader = {0};
    RETURNS(TAPELINE_ARGUMENT, tapeline_replay(bus, &replay, &reader));
    tapeline_session none = {0, 0};
    RETURNS(TAPELINE_NO_SESSION, tapeline_session_close(bus, none, TAPELINE_OUTCOME_FINISHED, NULL));
    RETURNS(TAPELINE_ARGUMENT, tapeline_session_close(bus, named("a"), 99, NULL));
    // A ticket that no event had.
    tapeline_ticket ticket = {{~0ull, ~0ull, ~0ull}};
    RETURNS(TAPELINE_TICKET, tapeline_wait_durable(bus, &ticket, 1000));
    (void)producer;
}

struct shared {
    tapeline_bus bus;
    tapeline_producer producer;
    tapeline_reader reader;
    int32_t code;
};

static void *emit(void *user) {
    struct shared *shared = user;
    tapeline_session none = {0, 0};
    shared->code = tapeline_emit(shared->producer, none, 1, NULL, 0, NULL);
    return NULL;
}

static void *wait_in_reader(void *user) {
    struct shared *shared = user;
    tapeline_event event;
    size_t count = 0;
    shared->code = tapeline_reader_next(shared->reader, &event, 1, -1, &count);
    return NULL;
}

static void *open_and_end(void *user) {
    struct shared *shared = user;
    OK(tapeline_producer_open(shared->bus, NULL, &shared->producer));
    return NULL;
}

static void on_thread(void *(*run)(void *), struct shared *shared) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, shared) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void threads(tapeline_bus bus, tapeline_producer producer) {
    struct shared shared = {.bus = bus, .producer = producer};
    on_thread(emit, &shared);
    CHECK(shared.code == TAPELINE_THREAD);
    // Given up, it belongs to the next thread; which ends, and so does its ownership.
    OK(tapeline_producer_release(producer));
    on_thread(emit, &shared);
    CHECK(shared.code == TAPELINE_OK);
    tapeline_session none = {0, 0};
    OK(tapeline_emit(producer, none, 1, NULL, 0, NULL));
    // A thread that ends without closing its producer leaves it to others.
    on_thread(open_and_end, &shared);
    OK(tapeline_producer_close(shared.producer));

    // A reader that is closed while another thread waits in it.
    tapeline_subscribe_options options = {.struct_size = sizeof options, .start = TAPELINE_START_LATEST};
    OK(tapeline_flush(bus, -1));
    OK(tapeline_subscribe(bus, &options, &shared.reader));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, wait_in_reader, &shared) == 0);
    OK(tapeline_reader_close(shared.reader));
    CHECK(pthread_join(thread, NULL) == 0);
    // The thread was in the call, or had not come to it yet.
    CHECK(shared.code == TAPELINE_CANCELLED || shared.code == TAPELINE_HANDLE);
}

// Nothing rings for a reader of files; one that is closed while another thread waits in it ends all the same.
static void followers(void) {
    char directory[] = "/tmp/tapeline-c-XXXXXX", command[64];
    CHECK(mkdtemp(directory) != NULL);
    const tapeline_pair pairs[] = {
        {"directory", directory}, {"placement.pinned", "false"}, {"placement.driver", driver()}};
    struct shared shared = {0};
    OK(tapeline_open_pairs(pairs, 3, &shared.bus));
    OK(tapeline_follow(directory, NULL, &shared.reader));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, wait_in_reader, &shared) == 0);
    OK(tapeline_reader_close(shared.reader));
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(shared.code == TAPELINE_CANCELLED || shared.code == TAPELINE_HANDLE);
    OK(tapeline_close(shared.bus, -1));
    snprintf(command, sizeof command, "rm -r %s", directory);
    CHECK(system(command) == 0);
}

static void forks(tapeline_bus bus, tapeline_producer producer) {
    tapeline_reader reader = {0};
    OK(tapeline_subscribe(bus, NULL, &reader));
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        tapeline_session none = {0, 0};
        tapeline_event event;
        size_t count = 0;
        RETURNS(TAPELINE_FORKED, tapeline_emit(producer, none, 1, NULL, 0, NULL));
        RETURNS(TAPELINE_FORKED, tapeline_producer_close(producer));
        RETURNS(TAPELINE_FORKED, tapeline_ingest(bus, none, 1, NULL, 0, NULL));
        RETURNS(TAPELINE_FORKED, tapeline_flush(bus, -1));
        RETURNS(TAPELINE_FORKED, tapeline_reader_next(reader, &event, 1, -1, &count));
        RETURNS(TAPELINE_FORKED, tapeline_reader_close(reader));
        RETURNS(TAPELINE_FORKED, tapeline_close(bus, -1));
        CHECK(strstr(tapeline_last_error(), "forked") != NULL);
        // A bus of its own works.
        tapeline_bus own = open_memory();
        tapeline_producer fresh = {0};
        OK(tapeline_producer_open(own, NULL, &fresh));
        OK(tapeline_emit(fresh, none, 1, NULL, 0, NULL));
        OK(tapeline_close(own, -1));
        OK(tapeline_producer_close(fresh));
        // The memory of the parent's threads, which are not here, is no leak: another program has none of it.
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    // The parent goes on.
    tapeline_session none = {0, 0};
    OK(tapeline_emit(producer, none, 1, NULL, 0, NULL));
    OK(tapeline_reader_close(reader));
}

int main(void) {
    tapeline_bus bus = open_memory();
    tapeline_producer producer = {0};
    OK(tapeline_producer_open(bus, NULL, &producer));
    null_pointers(bus, producer);
    huge_lengths(bus, producer);
    extreme_numbers();
    callbacks();
    callbacks_that_close_each_other();
    unaligned(bus, producer);
    made_up_handles(bus, producer);
    closed_handles();
    sizes_and_numbers(bus, producer);
    threads(bus, producer);
    followers();
    forks(bus, producer);
    OK(tapeline_producer_close(producer));
    OK(tapeline_close(bus, -1));
    puts("hostile: ok");
    return 0;
}
