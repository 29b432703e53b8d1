// SPDX-License-Identifier: MIT
// What a family makes of a config.json, without weights.
#ifndef RILL_TESTS_CONFIG_KEYS_H
#define RILL_TESTS_CONFIG_KEYS_H

#include "model/family.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

// What a config.json must say, without the braces; GPT-NeoX's are those of most families.
#define NEOX                                                                                       \
    "\"num_hidden_layers\": 2, \"hidden_size\": 64, \"num_attention_heads\": 4, "                  \
    "\"intermediate_size\": 96, \"vocab_size\": 160"
#define FALCON                                                                                     \
    "\"num_hidden_layers\": 2, \"hidden_size\": 64, \"num_attention_heads\": 4, "                  \
    "\"vocab_size\": 160"
#define MPT "\"n_layers\": 2, \"d_model\": 64, \"n_heads\": 4, \"vocab_size\": 160"

typedef struct reading {
    rill__description d;
    uint32_t biases;
    rill_error err;
} reading;

// What a family makes of the text of a config.json. The description is to be freed.
static inline rill_status read_text(const char *family, const char *text, reading *out) {
    json_t *json;
    *out = (reading){0};
    if (rill__json_parse("keys", text, strlen(text), &json, &out->err) != RILL_OK)
        fail_msg("%s", out->err.message);
    rill__config c = {.path = "keys", .object = json, .err = &out->err};
    rill__family_find(family)->read_config(&c, &out->d, &out->biases);
    rill_status status = c.status;
    if (status == RILL_OK) status = rill__description_check(&out->d, "keys", &out->err);
    json_decref(json);
    return status;
}

#endif
