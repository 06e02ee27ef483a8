// The functions of net-mesh (net.h) that mean the same here, over tapeline.h, for programs that are ported in steps.
// docs/C.md has the others. An event is one of no session and no kind.
//
// Differences: tapeline_last_error() says why a call failed, also net_init; settings that net_init does not know are errors;
// net_flush is a barrier; net_ingest_raw_batch stops at the first event that is not taken.
#ifndef TAPELINE_NET_H
#define TAPELINE_NET_H

#include <stdlib.h>

#include "tapeline.h"

typedef struct NetHandle {
    tapeline_bus bus;
} NetHandle;

enum {
    NET_SUCCESS = 0,
    NET_ERR_NULL_POINTER = -1,
    NET_ERR_INVALID_UTF8 = -2,
    NET_ERR_INVALID_JSON = -3,
    NET_ERR_INIT_FAILED = -4,
    NET_ERR_INGESTION_FAILED = -5,
    NET_ERR_SHUTTING_DOWN = -8,
    NET_ERR_UNKNOWN = -99
};

static inline int net_code_(int32_t code) {
    switch (code) {
    case TAPELINE_OK: return NET_SUCCESS;
    case TAPELINE_NULL: return NET_ERR_NULL_POINTER;
    case TAPELINE_UTF8: return NET_ERR_INVALID_UTF8;
    case TAPELINE_JSON: return NET_ERR_INVALID_JSON;
    case TAPELINE_SHUTDOWN: return NET_ERR_SHUTTING_DOWN;
    case TAPELINE_BACKPRESSURE:
    case TAPELINE_DROPPED:
    case TAPELINE_TOO_LARGE:
    case TAPELINE_STORAGE_FULL:
    case TAPELINE_POISONED: return NET_ERR_INGESTION_FAILED;
    default: return NET_ERR_UNKNOWN;
    }
}

// NULL where the bus does not open.
static inline NetHandle *net_init(const char *config_json) {
    NetHandle *handle = (NetHandle *)calloc(1, sizeof *handle);
    if (handle != NULL && tapeline_open(config_json, &handle->bus) != TAPELINE_OK) {
        free(handle);
        handle = NULL;
    }
    return handle;
}

static inline int net_ingest(NetHandle *handle, const char *json, size_t len) {
    const tapeline_session none = {0, 0};
    return handle == NULL ? NET_ERR_NULL_POINTER
                          : net_code_(tapeline_ingest_json(handle->bus, none, TAPELINE_KIND_UNSPECIFIED, json, len, NULL));
}

static inline int net_ingest_raw(NetHandle *handle, const char *json, size_t len) {
    const tapeline_session none = {0, 0};
    return handle == NULL ? NET_ERR_NULL_POINTER
                          : net_code_(tapeline_ingest(handle->bus, none, TAPELINE_KIND_UNSPECIFIED,
                                                      (const uint8_t *)json, len, NULL));
}

// The number of events that were taken, or an error if the first one was not.
static inline int net_ingest_raw_batch(NetHandle *handle, const char *const *jsons, const size_t *lens, size_t count) {
    if (jsons == NULL || lens == NULL) {
        return NET_ERR_NULL_POINTER;
    }
    for (size_t at = 0; at < count; at++) {
        int code = net_ingest_raw(handle, jsons[at], lens[at]);
        if (code != NET_SUCCESS) {
            return at == 0 ? code : (int)at;
        }
    }
    return (int)count;
}

static inline int net_flush(NetHandle *handle) {
    return handle == NULL ? NET_ERR_NULL_POINTER : net_code_(tapeline_flush(handle->bus, -1));
}

// 0 of a handle that is NULL.
static inline uint16_t net_num_shards(NetHandle *handle) {
    uint16_t shards = 0;
    return handle != NULL && tapeline_num_shards(handle->bus, &shards) == TAPELINE_OK ? shards : 0;
}

static inline const char *net_version(void) { return tapeline_version(); }

// Frees the handle, unless the bus does not end within 5 s.
static inline int net_shutdown(NetHandle *handle) {
    if (handle == NULL) {
        return NET_ERR_NULL_POINTER;
    }
    int32_t code = tapeline_close(handle->bus, 5000);
    if (code != TAPELINE_TIMEOUT) {
        free(handle);
    }
    return net_code_(code);
}

#endif
