package edgeface.core

import java.io.ByteArrayOutputStream
import java.security.MessageDigest
import java.util.zip.CRC32
import java.util.zip.DataFormatException
import java.util.zip.Inflater

/** The card inside a `.tflite`: a zip archive appended to the flatbuffer, with the member `edgeface.json`. */
object CardFile {
    private const val MEMBER = "edgeface.json"
    private const val MAX_BYTES = 1 shl 20
    private const val END = 0x06054b50
    private const val ENTRY = 0x02014b50
    private const val LOCAL = 0x04034b50
    private const val END_BYTES = 22
    private const val ENTRY_BYTES = 46
    private const val LOCAL_BYTES = 30
    private const val STORED = 0
    private const val DEFLATED = 8

    /**
     * The card of a whole `.tflite`, after the flatbuffer's hash is checked: damaged bytes may crash an
     * interpreter.
     */
    fun read(file: ByteArray): Card {
        val known = file.size > 8 && String(file, 4, 4, Charsets.ISO_8859_1) == "TFL3"
        must(known, "model", "a .tflite", "${file.size} bytes of something else")
        val entries = try {
            entries(file)
        } catch (error: IndexOutOfBoundsException) {
            throw InputError("the card inside the model must be readable. Received: ${error.message}")
        }
        val entry = entries.find { it.name == MEMBER }
            ?: throw InputError("model must carry an edgeface card. Received: none")
        val card = Card.parse(String(content(file, entry), Charsets.UTF_8))
        card.flatbufferSha256?.let { expected ->
            val found = sha256(file, entries.minOf { it.offset }.coerceIn(0, file.size))
            must(found == expected, "model", "of sha256 ${expected.take(12)} (its card)", found.take(12))
        }
        return card
    }

    /** The hash of the first [size] bytes, in hexadecimal. */
    fun sha256(bytes: ByteArray, size: Int = bytes.size): String {
        val digest = MessageDigest.getInstance("SHA-256")
        digest.update(bytes, 0, size)
        return digest.digest().joinToString("") { "%02x".format(it) }
    }

    private class Entry(
        val name: String,
        val offset: Int,
        val method: Int,
        val packed: Int,
        val size: Int,
        val crc: Int,
    )

    /** The central directory, found from the end of the file. */
    private fun entries(file: ByteArray): List<Entry> {
        var end = file.size - END_BYTES
        while (end >= 0 && int(file, end) != END) end--
        if (end < 0) return emptyList()
        var at = int(file, end + 16)
        return List(short(file, end + 10)) {
            must(int(file, at) == ENTRY, "the card's archive", "whole", "no entry at $at")
            val nameBytes = short(file, at + 28)
            val name = String(file, at + ENTRY_BYTES, nameBytes, Charsets.UTF_8)
            val entry = Entry(
                name,
                offset = int(file, at + 42),
                method = short(file, at + 10),
                packed = int(file, at + 20),
                size = int(file, at + 24),
                crc = int(file, at + 16),
            )
            at += ENTRY_BYTES + nameBytes + short(file, at + 30) + short(file, at + 32)
            entry
        }
    }

    private fun content(file: ByteArray, entry: Entry): ByteArray {
        must(entry.size in 0..MAX_BYTES, "the card", "at most $MAX_BYTES bytes", entry.size)
        val whole = entry.offset in 0..file.size && entry.packed in 0..file.size
        must(whole, "the card's archive", "inside the file", "${entry.packed} bytes at ${entry.offset}")
        try {
            must(int(file, entry.offset) == LOCAL, "the card's archive", "whole", "no member at ${entry.offset}")
            val start = entry.offset + LOCAL_BYTES + short(file, entry.offset + 26) + short(file, entry.offset + 28)
            val content = when (entry.method) {
                STORED -> file.copyOfRange(start, start + entry.size)
                DEFLATED -> inflate(file, start, entry.packed, entry.size)
                else -> throw InputError("the card must be stored or deflated. Received: method ${entry.method}")
            }
            val crc = CRC32().apply { update(content) }.value.toInt()
            must(crc == entry.crc, "the card", "of CRC ${entry.crc}", crc)
            return content
        } catch (error: IndexOutOfBoundsException) {
            throw InputError("the card inside the model must be readable. Received: ${error.message}")
        } catch (error: DataFormatException) {
            throw InputError("the card inside the model must be readable. Received: ${error.message}")
        }
    }

    private fun inflate(file: ByteArray, start: Int, packed: Int, size: Int): ByteArray {
        val inflater = Inflater(true)
        try {
            inflater.setInput(file, start, packed)
            val out = ByteArrayOutputStream(size)
            val chunk = ByteArray(4096)
            while (!inflater.finished()) {
                val read = inflater.inflate(chunk)
                must(read > 0 || inflater.finished(), "the card", "whole", "a stream that ends early")
                out.write(chunk, 0, read)
                must(out.size() <= size, "the card", "$size bytes", "more")
            }
            return out.toByteArray()
        } finally {
            inflater.end()
        }
    }

    private fun short(bytes: ByteArray, at: Int): Int =
        (bytes[at].toInt() and 255) or ((bytes[at + 1].toInt() and 255) shl 8)

    private fun int(bytes: ByteArray, at: Int): Int = short(bytes, at) or (short(bytes, at + 2) shl 16)
}
