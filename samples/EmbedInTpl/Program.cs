Console.WriteLine("EmbedInTpl: not written yet.");
