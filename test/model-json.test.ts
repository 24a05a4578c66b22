import fc from 'fast-check'
import t from 'tap'
import { parseJson } from '../src/model/json.js'

/** The first detail as `path: message`, or what was parsed. */
function parsed (text: string): unknown {
  const result = parseJson(text)
  return 'value' in result ? result : `${result.details[0]!.path}: ${result.details[0]!.message}`
}

t.test('what is valid is what JSON.parse makes of it', (t) => {
  fc.assert(fc.property(fc.json(), fc.constantFrom(undefined, 2, '\t'), (text, indent) => {
    const value = JSON.parse(text)
    if (JSON.stringify(value) !== text || /"__proto__"/.test(text)) return
    const result = parseJson(JSON.stringify(value, null, indent))
    if (!('value' in result) || JSON.stringify(result.value) !== text) throw new Error(JSON.stringify(result))
  }))
  t.same(parseJson('\uFEFF{ "a": [1, -0.5e3, true, null, "\\u00e9\\n\\"\\\\"] }\r\n'), { value: { a: [1, -500, true, null, 'é\n"\\'] } }, 'a byte order mark is skipped')
  for (const lone of ['1', '"x"', 'true', 'null', '[]']) t.same(parseJson(lone), { value: JSON.parse(lone) }, 'a lone value is JSON too')
  t.end()
})

t.test('what JSON.parse refuses is refused', (t) => {
  const broken = fc.tuple(fc.json(), fc.nat(), fc.constantFrom('', ',', '"', '}', ']', '{', ':', '\\', '\n', 'x', '0', '-', '.'))
    .map(([text, at, insert]) => text.slice(0, at % (text.length + 1)) + insert + text.slice(at % (text.length + 1) + 1))
  const native = (text: string) => {
    try { JSON.parse(text) } catch { return false }
    return true
  }
  fc.assert(fc.property(broken, (text) => {
    const result = parseJson(text)
    if (!native(text) && 'value' in result) throw new Error('accepted')
    if (native(text) && 'details' in result && !/twice|__proto__|too large/.test(result.details[0]!.message)) throw new Error(JSON.stringify(result))
  }), { numRuns: 2000 })
  t.pass()
  t.end()
})

t.test('a syntax error says what stands where, by line and column, and what is needed', (t) => {
  for (const [text, said] of Object.entries({
    '': 'the text is empty; JSON such as {} is needed (line 1, column 1)',
    ' \n ': 'the text is empty; JSON such as {} is needed (line 2, column 2)',
    '{\n  "a": 1,\n}': 'a comma must not stand before "}": remove it (line 3, column 1)',
    '[1,]': 'a comma must not stand before "]": remove it (line 1, column 4)',
    '{"a":}': '"}" stands where a value is needed (line 1, column 6)',
    '{a: 1}': '"a" stands where a field\'s name in double quotes or "}" is needed (line 1, column 2)',
    '{"a": 1\r\n "b": 2}': 'a text stands where "," or "}" is needed (line 2, column 2)',
    '{"a" 1}': '"1" stands where ":" is needed (line 1, column 6)',
    "{'a': 1}": 'texts and names stand in double quotes, not single ones (line 1, column 2)',
    '{"a": "x\ny"}': 'a text is not closed, or holds a line break or an escape that JSON does not know (line 1, column 7)',
    '["\\x"]': 'a text is not closed, or holds a line break or an escape that JSON does not know (line 1, column 2)',
    '{"a": 1': 'the text ends where "," or "}" is needed (line 1, column 8)',
    '{} {}': '"{" stands where nothing more is needed (line 1, column 4)',
    '{"a": // why\n 1}': 'comments are not allowed in JSON: remove it (line 1, column 7)',
    '[NaN]': '"N" stands where a value or "]" is needed (line 1, column 2)',
    '[01]': '"1" stands where "," or "]" is needed (line 1, column 3)',
    '{"a": 😀}': '"😀" stands where a value is needed (line 1, column 7)',
    ']': '"]" stands where a value is needed (line 1, column 1)'
  })) t.equal(parsed(text), `: ${said}`, JSON.stringify(text))
  t.end()
})

t.test('a field that stands twice is refused, with its path, also when it is spelt with an escape', (t) => {
  t.equal(parsed('{"enabled": true,\n"enabled": false}'), '/enabled: stands twice in the same object: keep one of the two (line 2, column 1)')
  t.equal(parsed('{"a":{"b/c":[0,{"x":1,"\\u0078":2}]}}'), '/a/b~1c/1/x: stands twice in the same object: keep one of the two (line 1, column 23)')
  t.same(parseJson('[{"x":1},{"x":2}]'), { value: [{ x: 1 }, { x: 2 }] }, 'the same name in two objects is not twice')
  const all = parseJson('{"a":1,"a":2,"b":1,"b":2}')
  t.same('details' in all && all.details.map(({ path }) => path), ['/a', '/b'], 'each of them is told')
  t.end()
})

t.test('of any text that is JSON, exactly that is refused in which an object has two fields of one name, or __proto__', (t) => {
  type Written = { text: string, isFine: boolean }
  const names = fc.constantFrom('a', 'b', ':', '"', '\\', '\\"', 'a":1,"b', '{', '', '__proto__', 'constructor')
  const written = fc.letrec<{ any: Written }>((tie) => ({
    any: fc.oneof({ maxDepth: 4 },
      fc.oneof(names, fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean(), fc.constant(null)).map((value) => ({ text: JSON.stringify(value), isFine: true })),
      fc.array(tie('any'), { maxLength: 3 }).map((items) => ({ text: `[${items.map(({ text }) => text).join()}]`, isFine: items.every(({ isFine }) => isFine) })),
      fc.array(fc.tuple(names, tie('any')), { maxLength: 4 }).map((fields) => ({
        text: `{${fields.map(([name, { text }]) => `${JSON.stringify(name)} : ${text}`).join()}}`,
        isFine: new Set([...fields.map(([name]) => name), '__proto__']).size === fields.length + 1 && fields.every(([, { isFine }]) => isFine)
      })))
  })).any
  fc.assert(fc.property(written, ({ text, isFine }) => {
    const result = parseJson(text)
    return 'value' in result ? isFine && JSON.stringify(result.value) === JSON.stringify(JSON.parse(text)) : !isFine
  }), { numRuns: 500 })
  t.end()
})

t.test('__proto__ is refused at any depth and touches no prototype', (t) => {
  t.equal(parsed('{"variants":{"__proto__":{"polluted":true}}}'), '/variants/__proto__: must not be called "__proto__": choose another name (line 1, column 14)')
  t.equal(parsed('{"\\u005f_proto__":{"polluted":true}}'), '/__proto__: must not be called "__proto__": choose another name (line 1, column 2)')
  t.notOk('polluted' in {})
  t.same(parseJson('{"constructor":1,"toString":2}'), { value: JSON.parse('{"constructor":1,"toString":2}') }, 'other names are left to the checks')
  t.end()
})

t.test('a number that would become infinite is refused, not changed', (t) => {
  t.equal(parsed('{"a":[1e999]}'), '/a/0: is a number too large to keep: 1e999 (line 1, column 7)')
  t.end()
})

t.test('nesting is refused beyond 100 levels, and a megabyte of brackets overflows nothing', (t) => {
  t.ok('value' in parseJson('['.repeat(100) + ']'.repeat(100)))
  t.equal(parsed('['.repeat(101) + ']'.repeat(101)), ': lists and objects nest deeper than 100: flatten the document (line 1, column 101)')
  for (const unit of ['[', '{"a":', '[{"a":']) t.match(parsed(unit.repeat(1_000_000 / unit.length)), /nest deeper than 100/)
  t.end()
})

t.test('megabytes in one text, with or without escapes, are read', (t) => {
  for (const text of ['x'.repeat(5e6), '\n'.repeat(5e6), '\\"'.repeat(3e6)]) t.ok('value' in parseJson(JSON.stringify({ text })))
  t.match(parsed('"' + '\\n'.repeat(3e6)), /not closed/)
  t.end()
})
