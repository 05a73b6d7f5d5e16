#include "config/yaml_reader.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

namespace pgvigil::config {

namespace {

constexpr int kDeepest = 50;                 // recursion below follows the document
constexpr std::size_t kMostNodes = 100'000;  // aliases multiply: a short text can stand for billions of nodes
constexpr std::size_t kLargestFile = 1U << 20U;

struct TooLarge {};

class Converter {
 public:
  Converter(std::string name, Problems& problems) : name_(std::move(name)), problems_(problems) {}

  Value convert(const YAML::Node& node, int depth, const std::string& path) {
    if (depth > kDeepest || ++nodes_ > kMostNodes) throw TooLarge();
    const SourceLocation where = place(node.Mark());
    switch (node.Type()) {
      case YAML::NodeType::Scalar: {
        Value value = Value::scalar(node.Scalar(), where, node.Tag() == "!" || node.Tag() == "tag:yaml.org,2002:str");
        if (scalar_type(value) == ScalarType::Null) value = null(where);
        return value;
      }
      case YAML::NodeType::Sequence: {
        Value list = Value::list({}, where);
        for (const YAML::Node& item : node) list.items.push_back(convert(item, depth + 1, path));
        return list;
      }
      case YAML::NodeType::Map: return convert_map(node, depth, path);
      default: return null(where);
    }
  }

 private:
  Value convert_map(const YAML::Node& node, int depth, const std::string& path) {
    Value map = Value::map(place(node.Mark()));
    Value merged;  // of "<<": gives way to keys that are written out
    for (const auto& item : node) {
      const SourceLocation where = place(item.first.Mark());
      if (!item.first.IsScalar()) {
        problems_.push_back({Problem::Severity::Error, where, path, "", "a key has to be plain text", ""});
        continue;
      }
      const std::string& key = item.first.Scalar();
      const std::string below = path.empty() ? key : path + "." + key;
      Value value = convert(item.second, depth + 1, key == "<<" ? path : below);
      if (key == "<<") {
        if (value.is_list()) {
          for (auto each = value.items.rbegin(); each != value.items.rend(); ++each) merge_flat(merged, *each);
        } else {
          merge_flat(merged, value);
        }
        continue;
      }
      const auto found = std::find_if(map.entries.begin(), map.entries.end(),
                                      [&](const Value::Entry& entry) { return entry.key == key; });
      if (found == map.entries.end()) {
        map.entries.push_back({key, where, std::move(value)});
        continue;
      }
      problems_.push_back(
          {Problem::Severity::Warning, where, below, "",
           fmt::format("given twice: this one counts, the one in line {} is ignored", found->where.line),
           "keep one of them"});
      *found = {key, where, std::move(value)};
    }
    for (Value::Entry& entry : merged.entries) {
      if (map.find(entry.key) == nullptr) map.entries.push_back(std::move(entry));
    }
    return map;
  }

  static void merge_flat(Value& base, const Value& over) {
    for (const Value::Entry& entry : over.entries) base.set(entry.key, entry.value);
  }

  static Value null(SourceLocation where) {
    Value value;
    value.where = std::move(where);
    return value;
  }

  [[nodiscard]] SourceLocation place(const YAML::Mark& mark) const {
    if (mark.is_null()) return {name_, 0, 0};
    return {name_, mark.line + 1, mark.column + 1};
  }

  std::string name_;
  Problems& problems_;
  std::size_t nodes_ = 0;
};

// The line in which a tab stands where YAML wants spaces; 0 = none.
int line_with_tab(const std::string& text) {
  int line = 1;
  bool indentation = true;
  for (const char c : text) {
    if (c == '\n') {
      ++line;
      indentation = true;
    } else if (c == '\t' && indentation) {
      return line;
    } else if (c != ' ') {
      indentation = false;
    }
  }
  return 0;
}

Problem unreadable(const std::string& text, const std::string& name, const YAML::Exception& exception) {
  Problem problem;
  problem.where = {name, exception.mark.is_null() ? 0 : exception.mark.line + 1,
                   exception.mark.is_null() ? 0 : exception.mark.column + 1};
  if (const int tab = line_with_tab(text); tab != 0 && tab <= problem.where.line + 1) {
    problem.where.line = tab;
    problem.where.column = 1;
    problem.what = "a tab is used for indentation";
    problem.valid = "YAML permits only spaces there";
    return problem;
  }
  problem.what = "not valid YAML: " + exception.msg;
  problem.valid = fmt::format("near column {}: look for a missing colon, quote or bracket, or wrong indentation",
                              problem.where.column);
  return problem;
}

bool is_yaml_name(const std::filesystem::path& path) {
  return path.extension() == ".yml" || path.extension() == ".yaml";
}

Result<std::vector<std::string>> files_of(const std::string& directory) {
  std::error_code error;
  std::vector<std::string> files;
  for (auto entry = std::filesystem::directory_iterator(directory, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    if (is_yaml_name(entry->path())) files.push_back(entry->path().string());
  }
  if (error) return fail(Errc::InvalidConfig, "cannot read the directory", directory, error.message());
  if (files.empty()) {
    return fail(Errc::NotFound, "cannot read the configuration from", directory, "no *.yml or *.yaml file in it",
                "name a file, or put one there");
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

Document read_yaml_text(const std::string& text, const std::string& name) {
  Document document;
  document.root = Value::map({name, 0, 0});
  const auto refuse = [&](std::string what, std::string valid) {
    document.problems.push_back({Problem::Severity::Error, {name, 0, 0}, "", "", std::move(what), std::move(valid)});
  };
  if (text.find('\0') != std::string::npos) {
    refuse("contains zero bytes", "expected YAML text in UTF-8");
    return document;
  }
  try {
    Converter converter(name, document.problems);
    Value root = converter.convert(YAML::Load(text), 0, "");
    if (root.is_map()) {
      document.root = std::move(root);
    } else if (!root.is_null()) {
      refuse("expected keys and values on the top level", "for example \"scope: demo\"");
    }
  } catch (const YAML::Exception& exception) {
    document.problems.push_back(unreadable(text, name, exception));
  } catch (const TooLarge&) {
    refuse("too large or nested too deeply", "at most 50 levels and 100000 values");
  }
  return document;
}

Result<std::string> read_small_file(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    const int number = errno;
    return fail(number == ENOENT ? Errc::NotFound : Errc::InvalidConfig, "cannot read", path, errno_text(number));
  }
  if (S_ISDIR(status.st_mode)) return fail(Errc::InvalidConfig, "cannot read", path, "it is a directory");
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"), &std::fclose);
  if (!file) return fail(Errc::InvalidConfig, "cannot read", path, errno_text(errno));
  std::string text(kLargestFile + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get()) != 0) return fail(Errc::InvalidConfig, "cannot read", path, errno_text(errno));
  if (text.size() > kLargestFile) return fail(Errc::InvalidConfig, "cannot read", path, "it is larger than 1 MiB");
  return text;
}

Result<Document> read_yaml(const std::string& file_or_directory) {
  std::error_code error;
  std::vector<std::string> files{file_or_directory};
  if (std::filesystem::is_directory(file_or_directory, error)) {
    PGV_TRY(found, files_of(file_or_directory));
    files = std::move(found);
  }
  Document document;
  document.root = Value::map({file_or_directory, 0, 0});
  for (const std::string& file : files) {
    auto text = read_small_file(file);
    if (!text) {
      Error problem = std::move(text.error());
      problem.what = "cannot read the configuration file";
      if (problem.code == Errc::NotFound) problem.remedy = "check the path";
      return tl::make_unexpected(std::move(problem));
    }
    Document part = read_yaml_text(*text, file);
    merge_over(document.root, std::move(part.root));
    document.problems.insert(document.problems.end(), part.problems.begin(), part.problems.end());
  }
  return document;
}

}  // namespace pgvigil::config
