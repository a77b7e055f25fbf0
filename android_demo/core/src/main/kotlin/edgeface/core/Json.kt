package edgeface.core

/** What is wrong with a file or an argument: "what must be. Received: value". */
class InputError(message: String) : Exception(message)

internal fun must(ok: Boolean, what: String, rule: String, received: Any?) {
    if (!ok) throw InputError("$what must be $rule. Received: $received")
}

/**
 * A small JSON reader: objects become `Map<String, Any?>`, arrays `List<Any?>`, numbers `Double`.
 *
 * The card of a model is all it reads, so that `core` needs no library and no android class.
 */
object Json {
    private const val MAX_DEPTH = 64

    /** The value of a whole document; [InputError] says where it is not JSON. */
    fun parse(text: String): Any? = Reader(text).document()

    private class Reader(private val text: String) {
        private var at = 0

        fun document(): Any? {
            val value = value(0)
            space()
            if (at != text.length) wrong("the end")
            return value
        }

        private fun value(depth: Int): Any? {
            if (depth > MAX_DEPTH) wrong("at most $MAX_DEPTH levels deep")
            space()
            return when (peek()) {
                '{' -> obj(depth)
                '[' -> array(depth)
                '"' -> string()
                't' -> word("true", true)
                'f' -> word("false", false)
                'n' -> word("null", null)
                else -> number()
            }
        }

        private fun obj(depth: Int): Map<String, Any?> {
            val entries = LinkedHashMap<String, Any?>()
            at++
            space()
            if (peek() == '}') return entries.also { at++ }
            while (true) {
                space()
                val key = string()
                space()
                take(':')
                entries[key] = value(depth + 1)
                space()
                if (peek() == ',') at++ else return entries.also { take('}') }
            }
        }

        private fun array(depth: Int): List<Any?> {
            val items = ArrayList<Any?>()
            at++
            space()
            if (peek() == ']') return items.also { at++ }
            while (true) {
                items.add(value(depth + 1))
                space()
                if (peek() == ',') at++ else return items.also { take(']') }
            }
        }

        private fun string(): String {
            take('"')
            val out = StringBuilder()
            while (true) {
                val c = next()
                when {
                    c == '"' -> return out.toString()
                    c == '\\' -> out.append(escaped())
                    c < ' ' -> wrong("no control character in a string")
                    else -> out.append(c)
                }
            }
        }

        private fun escaped(): Char = when (val c = next()) {
            '"', '\\', '/' -> c
            'b' -> '\b'
            'f' -> '\u000C'
            'n' -> '\n'
            'r' -> '\r'
            't' -> '\t'
            'u' -> {
                if (at + 4 > text.length) wrong("four hexadecimal digits")
                val digits = text.substring(at, at + 4)
                at += 4
                if (!digits.all { it.isDigit() || it in 'a'..'f' || it in 'A'..'F' }) wrong("four hexadecimal digits")
                digits.toInt(16).toChar()
            }
            else -> wrong("an escape")
        }

        private fun number(): Double {
            val start = at
            while (at < text.length && (text[at].isLetterOrDigit() || text[at] in "+-.")) at++
            val written = text.substring(start, at)
            // toDouble alone would take "NaN", "0x1p3" and "1f" as well.
            if (!NUMBER.matches(written)) {
                at = start
                wrong("a value")
            }
            return written.toDouble()
        }

        private fun <T> word(word: String, value: T): T {
            if (!text.startsWith(word, at)) wrong("a value")
            at += word.length
            return value
        }

        private fun space() {
            while (at < text.length && text[at] in " \t\r\n") at++
        }

        private fun peek(): Char = if (at < text.length) text[at] else wrong("a value")

        private fun next(): Char = peek().also { at++ }

        private fun take(c: Char) {
            if (peek() != c) wrong("'$c'")
            at++
        }

        private fun wrong(rule: String): Nothing {
            val got = if (at < text.length) "'${text[at]}'" else "the end"
            throw InputError("JSON must have $rule at character $at. Received: $got")
        }
    }

    private val NUMBER = Regex("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")
}
