// What the test programs share: checks that say where they failed.
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tapeline.h>

#define CHECK(condition)                                                                                  \
    do {                                                                                                  \
        if (!(condition)) {                                                                               \
            fprintf(stderr, "%s:%d: %s; last error: %s\n", __FILE__, __LINE__, #condition,                \
                    tapeline_last_error());                                                               \
            exit(1);                                                                                      \
        }                                                                                                 \
    } while (0)

// A call returns a code.
#define RETURNS(code, call)                                                                               \
    do {                                                                                                  \
        int32_t returned_ = (call);                                                                       \
        if (returned_ != (int32_t)(code)) {                                                               \
            fprintf(stderr, "%s:%d: %s returned %d (%s: %s), not %s\n", __FILE__, __LINE__, #call,        \
                    returned_, tapeline_strerror(returned_), tapeline_last_error(), #code);               \
            exit(1);                                                                                      \
        }                                                                                                 \
    } while (0)

#define OK(call) RETURNS(TAPELINE_OK, call)

// The driver of a log's files that the caller of the program wants.
static inline const char *driver(void) {
    const char *wanted = getenv("TAPELINE_TEST_DRIVER");
    return wanted != NULL ? wanted : "auto";
}

static inline tapeline_bus open_memory(void) {
    tapeline_bus bus = {0};
    OK(tapeline_open("{\"placement\": {\"pinned\": false}}", &bus));
    return bus;
}

static inline tapeline_session named(const char *name) {
    tapeline_session session = {0, 0};
    OK(tapeline_session_named(name, strlen(name), &session));
    return session;
}

static inline int payload_is(const tapeline_event *event, const char *text) {
    return event->payload_len == strlen(text) && memcmp(event->payload, text, event->payload_len) == 0;
}

static inline int name_is(const tapeline_event *event, const char *name) {
    return event->session_name_len == strlen(name) && memcmp(event->session_name, name, event->session_name_len) == 0;
}

#endif
