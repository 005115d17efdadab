/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML to JSON by libyaml's event parser. Recursion is as deep as the document and capped.
 */
#include "common/kube/yaml.h"

#include <string.h>
#include <yaml.h>

#include "common/base/limits.h"

struct reader {
    yaml_parser_t parser;
    struct err *err;
    unsigned depth;
};

#define _cleanup_event_ _cleanup_(yaml_event_delete)

static int refuse(struct reader *r, yaml_mark_t mark, const char *why)
{
    return err_say(r->err, EBADMSG, "line %zu, column %zu: %s", mark.line + 1, mark.column + 1, why);
}

/* The event is the caller's only on success. */
static int next_event(struct reader *r, yaml_event_t *ret)
{
    yaml_mark_t mark;

    if (yaml_parser_parse(&r->parser, ret))
        return 0;
    *ret = (yaml_event_t){0};
    if (r->parser.error == YAML_MEMORY_ERROR)
        return err_set(r->err, ENOMEM, "YAML");
    mark = r->parser.error == YAML_READER_ERROR ? r->parser.mark : r->parser.problem_mark;
    return refuse(r, mark, r->parser.problem ? r->parser.problem : "not valid YAML");
}

static int expect(struct reader *r, yaml_event_type_t type, const char *otherwise)
{
    _cleanup_event_ yaml_event_t event = {0};
    int rc = next_event(r, &event);

    if (rc < 0)
        return rc;
    return event.type == type ? 0 : refuse(r, event.start_mark, otherwise);
}

static int scalar_text(struct reader *r, const yaml_event_t *event, const char **ret)
{
    const char *text = (const char *)event->data.scalar.value;

    if (event->data.scalar.anchor)
        return refuse(r, event->start_mark, "anchors are not supported");
    if (event->data.scalar.tag)
        return refuse(r, event->start_mark, "tags are not supported");
    if (strlen(text) != event->data.scalar.length)
        return refuse(r, event->start_mark, "a NUL byte inside a value");
    *ret = text;
    return 0;
}

static int read_scalar(struct reader *r, const yaml_event_t *event, struct json **ret)
{
    const bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    const char *text;
    int rc = scalar_text(r, event, &text);

    if (rc < 0)
        return rc;
    if (plain && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0))
        *ret = json_new_bool(text[0] == 't');
    else if (plain && (strcmp(text, "null") == 0 || strcmp(text, "~") == 0 || !*text))
        *ret = json_new_null();
    else
        *ret = json_new_string(text);
    return *ret ? 0 : err_set(r->err, ENOMEM, "YAML");
}

static int read_node(struct reader *r, const yaml_event_t *event, struct json **ret);

static int read_sequence(struct reader *r, struct json **ret)
{
    _cleanup_json_ struct json *array = json_new_array();

    for (;;) {
        _cleanup_event_ yaml_event_t event = {0};
        struct json *item = NULL;
        int rc = array ? next_event(r, &event) : err_set(r->err, ENOMEM, "YAML");

        if (rc < 0)
            return rc;
        if (event.type == YAML_SEQUENCE_END_EVENT)
            break;
        rc = read_node(r, &event, &item);
        if (rc < 0)
            return rc;
        rc = json_append(array, item);
        if (rc < 0)
            return err_set(r->err, rc, "YAML");
    }
    *ret = take_ptr(array);
    return 0;
}

/* One "key: value" whose key's event is given. */
static int read_pair(struct reader *r, const yaml_event_t *key, struct json *object)
{
    _cleanup_event_ yaml_event_t event = {0};
    struct json *value = NULL;
    const char *name;
    int rc;

    if (key->type != YAML_SCALAR_EVENT)
        return refuse(r, key->start_mark, "a key must be a plain word");
    rc = scalar_text(r, key, &name);
    if (rc < 0)
        return rc;
    if (json_field(object, name))
        return refuse(r, key->start_mark, "a key that is there already");
    rc = next_event(r, &event);
    if (rc < 0)
        return rc;
    rc = read_node(r, &event, &value);
    if (rc < 0)
        return rc;
    rc = json_set(object, name, value);
    return rc < 0 ? err_set(r->err, rc, "YAML") : 0;
}

static int read_mapping(struct reader *r, struct json **ret)
{
    _cleanup_json_ struct json *object = json_new_object();

    for (;;) {
        _cleanup_event_ yaml_event_t key = {0};
        int rc = object ? next_event(r, &key) : err_set(r->err, ENOMEM, "YAML");

        if (rc < 0)
            return rc;
        if (key.type == YAML_MAPPING_END_EVENT)
            break;
        rc = read_pair(r, &key, object);
        if (rc < 0)
            return rc;
    }
    *ret = take_ptr(object);
    return 0;
}

static int read_collection(struct reader *r, const yaml_event_t *event, struct json **ret)
{
    const bool mapping = event->type == YAML_MAPPING_START_EVENT;
    int rc;

    if (mapping ? event->data.mapping_start.anchor : event->data.sequence_start.anchor)
        return refuse(r, event->start_mark, "anchors are not supported");
    if (mapping ? event->data.mapping_start.tag : event->data.sequence_start.tag)
        return refuse(r, event->start_mark, "tags are not supported");
    if (r->depth >= LIMIT_JSON_DEPTH)
        return refuse(r, event->start_mark, "nested too deeply");
    r->depth++;
    rc = mapping ? read_mapping(r, ret) : read_sequence(r, ret);
    r->depth--;
    return rc;
}

static int read_node(struct reader *r, const yaml_event_t *event, struct json **ret)
{
    if (event->type == YAML_SCALAR_EVENT)
        return read_scalar(r, event, ret);
    if (event->type == YAML_MAPPING_START_EVENT || event->type == YAML_SEQUENCE_START_EVENT)
        return read_collection(r, event, ret);
    if (event->type == YAML_ALIAS_EVENT)
        return refuse(r, event->start_mark, "aliases are not supported");
    return refuse(r, event->start_mark, "nothing but comments");
}

static int read_document(struct reader *r, struct json **ret)
{
    _cleanup_json_ struct json *root = NULL;
    _cleanup_event_ yaml_event_t event = {0};
    int rc = expect(r, YAML_STREAM_START_EVENT, "not valid YAML");

    if (rc >= 0)
        rc = expect(r, YAML_DOCUMENT_START_EVENT, "nothing in it");
    if (rc >= 0)
        rc = next_event(r, &event);
    if (rc >= 0)
        rc = read_node(r, &event, &root);
    if (rc >= 0)
        rc = expect(r, YAML_DOCUMENT_END_EVENT, "not valid YAML");
    if (rc >= 0)
        rc = expect(r, YAML_STREAM_END_EVENT, "more than one document");
    if (rc < 0)
        return rc;
    *ret = take_ptr(root);
    return 0;
}

int yaml_to_json(const char *text, size_t len, struct json **ret, struct err *err)
{
    struct reader r = {.err = err};
    int rc;

    if (!yaml_parser_initialize(&r.parser))
        return err_set(err, ENOMEM, "YAML");
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    rc = read_document(&r, ret);
    yaml_parser_delete(&r.parser);
    return rc;
}
