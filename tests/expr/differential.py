#!/usr/bin/python3
"""Random expressions over random documents, ours against python3-jmespath.

usage: differential.py EXPR_CLI

30 expressions for each of MESHHOOK_TEST_COUNT (100), from MESHHOOK_TEST_SEED
(1). A failure prints what reproduces it.

The oracle deviates from the specification, or from sense, in ways that are
mended below before it is asked:
- separators between arguments and between members of {} are optional to it
- "&x" stands anywhere to it, not only as an argument
- true equals 1 and false equals 0 to it, inside of arrays and objects
- comparing a number with a string by < raises TypeError; it is null
- contains(string, other) raises TypeError; it is false
- to_number reads what Python's int and float read (" 1", "1_0", "inf"), not
  JSON's numbers
- to_string escapes all but ASCII
- sums and averages that are whole come as 2.0; ours as 2
- merge() checks its first argument only
- a slice right behind an index ("a[0][1:]") is no projection to it
- of several numbers in one part of a slice ("[1 2:]") it takes the last
And what we do at compile time (unknown functions, arity, references, steps of
0) it does when it gets there, if it does: such errors of ours are accepted, but
may be no more than a tenth of all.
"""
import json
import operator
import os
import random
import re
import subprocess
import sys

try:
    import jmespath
except ImportError:
    print('skipped: python3-jmespath is not installed')
    sys.exit(77)
from jmespath import exceptions, functions, parser, visitor

NUMBER = re.compile(r'-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?')


def is_number(x):
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def same(x, y):
    """Deep equality in which a boolean is no number."""
    if is_number(x) and is_number(y):
        return x == y
    if type(x) is not type(y):
        return False
    if isinstance(x, list):
        return len(x) == len(y) and all(map(same, x, y))
    if isinstance(x, dict):
        return x.keys() == y.keys() and all(same(x[k], y[k]) for k in x)
    return x == y


def whole(x):
    return int(x) if isinstance(x, float) and x.is_integer() and \
        abs(x) <= 2**53 else x


class Functions(functions.Functions):
    @functions.signature({'types': ['array', 'string']}, {'types': []})
    def _func_contains(self, subject, search):
        if isinstance(subject, str):
            return isinstance(search, str) and search in subject
        return any(same(item, search) for item in subject)

    @functions.signature({'types': []})
    def _func_to_number(self, arg):
        if is_number(arg):
            return arg
        if isinstance(arg, str) and NUMBER.fullmatch(arg):
            return json.loads(arg)
        return None

    @functions.signature({'types': []})
    def _func_to_string(self, arg):
        return arg if isinstance(arg, str) else json.dumps(
            arg, separators=(',', ':'), ensure_ascii=False)

    @functions.signature({'types': ['object'], 'variadic': True})
    def _func_merge(self, *objects):
        merged = {}
        for one in objects:
            self._type_check_single(one, ['object'], 'merge')
            merged.update(one)
        return merged

    @functions.signature({'types': ['array-number']})
    def _func_sum(self, arg):
        return whole(sum(arg))

    @functions.signature({'types': ['array-number']})
    def _func_avg(self, arg):
        return whole(sum(arg) / len(arg)) if arg else None


class Parser(parser.Parser):
    def _token_led_lparen(self, left):
        if left['type'] != 'field':
            self._error_led_token(self._lookahead_token(-1))
        args = []
        if self._current_token() != 'rparen':
            args.append(self._argument())
            while self._current_token() == 'comma':
                self._match('comma')
                args.append(self._argument())
        self._match('rparen')
        return parser.ast.function_expression(left['value'], args)

    def _token_led_lbracket(self, left):
        if self._current_token() in ('number', 'colon'):
            return self._project_if_slice(left, self._parse_index_expression())
        return super()._token_led_lbracket(left)

    def _parse_slice_expression(self):
        at = self._index
        while self._lookahead(0) in ('number', 'colon'):
            if self._lookahead(0) == self._lookahead(1) == 'number':
                self._error_led_token(self._lookahead_token(1))
            self._advance()
        self._index = at
        return super()._parse_slice_expression()

    def _argument(self):
        if self._current_token() == 'expref':
            self._match('expref')
            return parser.ast.expref(self._expression())
        return self._expression()

    def _token_nud_expref(self, token):
        self._error_nud_token(token)

    def _parse_multi_select_hash(self):
        pairs = []
        while True:
            key = self._lookahead_token(0)
            self._match_multiple_tokens(
                ['quoted_identifier', 'unquoted_identifier'])
            self._match('colon')
            pairs.append(parser.ast.key_val_pair(
                key_name=key['value'], node=self._expression(0)))
            if self._current_token() != 'comma':
                break
            self._match('comma')
        self._match('rbrace')
        return parser.ast.multi_select_dict(nodes=pairs)


def ordered(compare):
    def fn(x, y):
        return compare(x, y) if isinstance(x, str) == isinstance(y, str) \
            else None
    return fn


visitor.TreeInterpreter.COMPARATOR_FUNC = {
    'eq': same, 'ne': lambda x, y: not same(x, y),
    'lt': ordered(operator.lt), 'gt': ordered(operator.gt),
    'lte': ordered(operator.le), 'gte': ordered(operator.ge),
}
OPTIONS = jmespath.Options(custom_functions=Functions())


def oracle(expression, data):
    try:
        return {'result': Parser().parse(expression).search(data, OPTIONS)}
    except (exceptions.LexerError, exceptions.EmptyExpressionError):
        return {'error': 'syntax'}
    except exceptions.UnknownFunctionError:
        return {'error': 'unknown-function'}
    except exceptions.JMESPathTypeError:
        return {'error': 'invalid-type'}
    except exceptions.ArityError:  # a ParseError, so before it
        return {'error': 'invalid-arity'}
    except exceptions.ParseError:
        return {'error': 'syntax'}
    except TypeError:  # min_by and max_by of mixed keys
        return {'error': 'invalid-type'}
    except ValueError:  # a slice by 0
        return {'error': 'invalid-value'}


KEYS = ['a', 'b', 'c', 'd', 'a b', 'é']
STRINGS = ['', 'a', 'b', 'abc', 'x y', 'é', '12', '-1.5', ' 1', 'ab\n"', '😀z']
NUMBERS = [0, 1, 2, 3, -1, 10, 1.5, -0.5, 2.25, 1e300, 9007199254740993,
           12345678901234567890]
FUNCTIONS = {
    'abs': 'v', 'avg': 'v', 'ceil': 'v', 'contains': 'vv', 'ends_with': 'vv',
    'floor': 'v', 'join': 'sv', 'keys': 'v', 'length': 'v', 'map': 'rv',
    'max': 'v', 'max_by': 'vr', 'merge': 'vv', 'min': 'v', 'min_by': 'vr',
    'not_null': 'vvv', 'reverse': 'v', 'sort': 'v', 'sort_by': 'vr',
    'starts_with': 'vv', 'sum': 'v', 'to_array': 'v', 'to_number': 'v',
    'to_string': 'v', 'type': 'v', 'values': 'v',
}


def document(rnd, depth=4):
    kind = rnd.random()
    if depth == 0 or kind < 0.25:
        return rnd.choice([
            None, True, False, rnd.choice(NUMBERS), rnd.choice(NUMBERS),
            rnd.choice(STRINGS), rnd.choice(STRINGS)])
    if kind < 0.35:
        return [rnd.choice(NUMBERS) for _ in range(rnd.randrange(6))]
    if kind < 0.45:
        return [rnd.choice(STRINGS) for _ in range(rnd.randrange(6))]
    if kind < 0.7:
        return [document(rnd, depth - 1) for _ in range(rnd.randrange(5))]
    return {rnd.choice(KEYS): document(rnd, depth - 1)
            for _ in range(rnd.randrange(1, 6))}


def name(rnd):
    key = rnd.choice(KEYS)
    return key if key.isascii() and key.isalnum() and rnd.random() < 0.9 \
        else json.dumps(key, ensure_ascii=rnd.random() < 0.5)


def literal(rnd):
    if rnd.random() < 0.4:
        return "'" + rnd.choice(STRINGS).replace("'", "\\'") + "'"
    if rnd.random() < 0.1:
        return '`bare word`'
    # Characters beyond the BMP stay as they are: the oracle takes halves of
    # surrogate pairs, which damage could leave behind, for characters.
    text = json.dumps(document(rnd, 2), ensure_ascii=False)
    return '`' + text.replace('`', '\\`').replace('é', '\\u00e9') + '`'


def call(rnd, depth):
    fn = rnd.choice(list(FUNCTIONS))
    args = []
    for kind in FUNCTIONS[fn]:
        if kind == 's' and rnd.random() < 0.8:
            args.append("'-'")
        else:
            args.append(('&' if kind == 'r' else '') +
                        expression(rnd, depth - 1))
    if rnd.random() < 0.02:
        args.append('@')
    return '%s(%s)' % (fn, ', '.join(args))


def slice_text(rnd):
    def part():
        return rnd.choice(['', '', str(rnd.randrange(-6, 7))])
    step = rnd.choice(['', ':', ':1', ':2', ':-1', ':-2', ':3'])
    return '[%s:%s%s]' % (part(), part(), step)


def suffix(rnd, depth):
    return rnd.choice([
        lambda: '.' + name(rnd), lambda: '.' + name(rnd),
        lambda: '[%d]' % rnd.randrange(-3, 4), lambda: slice_text(rnd),
        lambda: '[*]', lambda: '[]', lambda: '.*',
        lambda: '[?%s]' % expression(rnd, depth - 1),
        lambda: '.[%s, %s]' % (expression(rnd, depth - 1),
                               expression(rnd, depth - 1)),
        lambda: '.{%s: %s}' % (name(rnd), expression(rnd, depth - 1)),
    ])()


def expression(rnd, depth):
    if depth <= 0:
        return rnd.choice([name(rnd), name(rnd), '@', literal(rnd)])
    kind = rnd.random()
    if kind < 0.15:
        return name(rnd)
    if kind < 0.5:
        return expression(rnd, depth - 1) + suffix(rnd, depth)
    if kind < 0.65:
        return call(rnd, depth)
    if kind < 0.75:
        return '%s %s %s' % (
            expression(rnd, depth - 1),
            rnd.choice(['==', '!=', '<', '<=', '>', '>=']),
            expression(rnd, depth - 1))
    if kind < 0.85:
        return '%s %s %s' % (
            expression(rnd, depth - 1), rnd.choice(['&&', '||', '|']),
            expression(rnd, depth - 1))
    return rnd.choice([
        lambda: '!' + expression(rnd, depth - 1),
        lambda: '(%s)' % expression(rnd, depth - 1),
        lambda: '[%s, %s]' % (expression(rnd, depth - 1),
                              expression(rnd, depth - 1)),
        lambda: '{%s: %s, %s: %s}' % (
            name(rnd), expression(rnd, depth - 1),
            name(rnd), expression(rnd, depth - 1)),
        lambda: '[*]', lambda: '*', lambda: '[]',
        lambda: '[?%s]' % expression(rnd, depth - 1),
        lambda: '[%d]' % rnd.randrange(-3, 4), lambda: slice_text(rnd),
    ])()


def damaged(rnd, text):
    """The text with a character or two dropped, doubled or replaced."""
    for _ in range(rnd.randrange(1, 3)):
        at = rnd.randrange(len(text) + 1)
        put = rnd.choice(['', text[at:at + 1] * 2, rnd.choice('.[]{}()*:,@&|!?'
                                                              '<>=0a -')])
        text = text[:at] + put + text[at + 1:]
    return text


def case(rnd):
    """Most that give nothing are drawn again."""
    while True:
        text = expression(rnd, rnd.randrange(1, 5))
        if rnd.random() < 0.15:
            text = damaged(rnd, text)
        data = document(rnd)
        if oracle(text, data).get('result') is not None or rnd.random() < 0.2:
            return {'expression': text, 'data': data}


def close(x, y):
    """As same(), with the last bits of doubles left open."""
    if is_number(x) and is_number(y):
        return x == y or abs(x - y) <= 1e-12 * max(abs(x), abs(y))
    if isinstance(x, list) and isinstance(y, list):
        return len(x) == len(y) and all(map(close, x, y))
    if isinstance(x, dict) and isinstance(y, dict):
        return list(x) == list(y) and all(close(x[k], y[k]) for k in x)
    return same(x, y)


def agree(ours, theirs):
    if 'error' in ours or 'error' in theirs:
        return ours.get('error') == theirs.get('error')
    return close(ours['result'], theirs['result'])


def main(cli):
    count = 30 * int(os.environ.get('MESHHOOK_TEST_COUNT', '100'))
    seed = int(os.environ.get('MESHHOOK_TEST_SEED', '1'))
    rnd = random.Random(seed)
    cases = [case(rnd) for _ in range(count)]
    out = subprocess.run(
        [cli], input='\n'.join(map(json.dumps, cases)) + '\n', text=True,
        stdout=subprocess.PIPE, check=True, encoding='utf-8').stdout
    answers = out.split('\n')
    failed = early = values = 0
    for asked, line in zip(cases, answers):
        ours, theirs = json.loads(line), oracle(**asked)
        values += ours.get('result') is not None
        if agree(ours, theirs):
            continue
        if ours.get('stage') == 'compile' and ours['error'] != 'syntax':
            early += 1
            continue
        failed += 1
        if failed <= 10:
            print(json.dumps(asked, ensure_ascii=False),
                  '\n  ours:  ', line, '\n  theirs:', theirs)
    print(f'seed {seed}: {count} expressions, {values} with a value, '
          f'{early} refused early, {failed} differ')
    ok = failed == 0 and len(answers) == count + 1 and early * 10 < count and \
        values * 4 > count
    sys.exit(0 if ok else 1)


if __name__ == '__main__':
    main(sys.argv[1])
